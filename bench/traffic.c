// Both ends of a proxy under measurement, one thread each.
//   traffic engine PORT...                         an engine: 600 bytes of JSON, or 100 events of a stream, one each 20 ms
//   traffic unary  PORT CONNECTIONS SECONDS TOKEN  asks again as soon as it has an answer; prints one JSON line
//   traffic stream PORT CONNECTIONS SECONDS TOKEN  the same with streams; counts events
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 65536, MANY = 65536, EVENTS = 100, PACE = 20000 };
typedef struct { int fd, listens, used, answering, status, sent; int64_t began, due; char in[ROOM]; } peer;
static peer *peers[MANY];
static int queue, highest;
static char answer[2048], request[4096];
static int answer_size, request_size;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static peer *add(int fd, int listens) {
    int one = 1;
    peer *p = calloc(1, sizeof *p);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = p};
    p->fd = fd, p->listens = listens;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    epoll_ctl(queue, EPOLL_CTL_ADD, fd, &wanted);
    peers[fd] = p;
    if (fd > highest) highest = fd;
    return p;
}

static void drop(peer *p) {
    peers[p->fd] = NULL;
    close(p->fd);
    free(p);
}

static struct sockaddr_in address(const char *port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

// Bytes of the message at the start of what came, 0 while it is not whole; *head is where its body begins.
static int message(peer *p, int *head) {
    char *end = memmem(p->in, p->used, "\r\n\r\n", 4), *field;
    if (!end) return 0;
    *head = end + 4 - p->in;
    p->in[p->used] = 0;
    field = strcasestr(p->in, "\r\ncontent-length:");
    int whole = *head + (field && field < end ? atoi(field + 17) : 0);
    return p->used >= whole ? whole : 0;
}

// ---- the engine

static void say(peer *p, const char *text, int size) {
    if (send(p->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) != size) drop(p);
}

static void event(peer *p) {
    char data[256], piece[320];
    int size = sprintf(data, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word %5d ", p->sent);
    while (size < 188) data[size++] = '.';
    size += sprintf(data + size, "\"}}]}\n\n");
    size = sprintf(piece, "%x\r\n%.*s\r\n%s", size, size, data, ++p->sent == EVENTS ? "0\r\n\r\n" : "");
    p->due += PACE;
    if (p->sent == EVENTS) p->answering = 0;
    say(p, piece, size);
}

static void asked(peer *p) {
    int head, size;
    while ((size = message(p, &head)) > 0) {
        int streams = memmem(p->in + head, size - head, "\"stream\":true", 13) != NULL;
        memmove(p->in, p->in + size, p->used -= size);
        if (!streams) { say(p, answer, answer_size); return; }
        p->answering = 1, p->sent = 0, p->due = now();
        static const char start[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        say(p, start, sizeof start - 1);
        return;
    }
}

static void engine(int count, char **ports) {
    char body[601];
    memset(body, 'x', 600), body[600] = 0;
    memcpy(body, "{\"text\":\"", 9), memcpy(body + 598, "\"}", 2);
    answer_size = sprintf(answer, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 600\r\n\r\n%s", body);
    for (int i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
        struct sockaddr_in at = address(ports[i]);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (void *)&at, sizeof at) || listen(fd, 4096)) exit(1);
        add(fd, 1);
    }
    for (;;) {
        struct epoll_event found[256];
        int n = epoll_wait(queue, found, 256, 5);
        for (int i = 0; i < n; i++) {
            peer *p = found[i].data.ptr;
            if (p->listens) { int fd = accept(p->fd, NULL, NULL); if (fd >= 0) add(fd, 0); continue; }
            int got = recv(p->fd, p->in + p->used, ROOM - 1 - p->used, MSG_DONTWAIT);
            if (got <= 0) { drop(p); continue; }
            p->used += got;
            asked(p);
        }
        int64_t t = now();
        for (int fd = 0; fd <= highest; fd++) if (peers[fd] && peers[fd]->answering && peers[fd]->due <= t) event(peers[fd]);
    }
}

// ---- the clients

static uint32_t *times, done, events, errors;
static int ascending(const void *a, const void *b) { return *(uint32_t *)a < *(uint32_t *)b ? -1 : 1; }

static peer *ask(peer *p, const char *port) {
    if (!p) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in at = address(port);
        if (connect(fd, (void *)&at, sizeof at)) exit(2);
        p = add(fd, 0);
    }
    p->used = p->sent = p->status = 0, p->began = now();
    if (send(p->fd, request, request_size, MSG_NOSIGNAL) != request_size) errors++;
    return p;
}

static int whole(peer *p, int streams) {
    int head, size = message(p, &head);
    if (!p->status && size) p->status = atoi(p->in + 9);
    if (!streams || (p->status && p->status != 200)) { if (size && p->status != 200) errors++; return size > 0; }
    for (char *at; (at = memmem(p->in, p->used, "data: ", 6)) != NULL; *at = '!') {
        if (!p->sent++ && done < 4000000) times[done++] = now() - p->began;
        events++;
    }
    int over = p->used > 5 && !memcmp(p->in + p->used - 5, "0\r\n\r\n", 5);
    if (p->used > 1024) { memmove(p->in, p->in + p->used - 16, 16); p->used = 16; }
    return over;
}

static void clients(int streams, char **arg) {
    int count = atoi(arg[1]), open = 0;
    char body[1200], *text = body;
    text += sprintf(text, "{\"messages\":[{\"role\":\"user\",\"content\":\"%s", "");
    while (text < body + 960) *text++ = 'a';
    sprintf(text, "\"}],\"model\":\"bench\",\"max_tokens\":16,\"stream\":%s}", streams ? "true" : "false");
    request_size = sprintf(request, "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nUser-Agent: bench\r\nAccept: */*\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n%s", arg[0], arg[3], strlen(body), body);
    times = malloc(4000000 * sizeof *times);
    int64_t start = now(), end = start + (int64_t)(atof(arg[2]) * 1e6);
    while (now() < end) {
        while (open < count && (!streams || open * 2000000LL / count <= now() - start)) ask(NULL, arg[0]), open++;
        struct epoll_event found[256];
        int n = epoll_wait(queue, found, 256, 5);
        for (int i = 0; i < n; i++) {
            peer *p = found[i].data.ptr;
            int got = recv(p->fd, p->in + p->used, ROOM - 1 - p->used, MSG_DONTWAIT);
            if (got <= 0) { errors++; drop(p); ask(NULL, arg[0]); continue; }
            p->used += got;
            if (!whole(p, streams)) continue;
            if (!streams && done < 4000000) times[done++] = now() - p->began;
            ask(p, arg[0]);
        }
    }
    qsort(times, done, sizeof *times, ascending);
    printf("{\"done\": %u, \"events\": %u, \"errors\": %u, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", done, events, errors,
           done ? times[done / 2] / 1e3 : 0, done ? times[done * 99LL / 100] / 1e3 : 0);
}

int main(int count, char **arg) {
    if (count < 3) return 2;
    queue = epoll_create1(0);
    signal(SIGPIPE, SIG_IGN);
    if (!strcmp(arg[1], "engine")) engine(count - 2, arg + 2);
    else if (count == 6) clients(!strcmp(arg[1], "stream"), arg + 2);
    return 0;
}
