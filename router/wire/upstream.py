"""Kept connections to one engine: asyncio and httptools, no task and no await per request.

A connection serves one request at a time and tells its user of what comes, at most once per read: `answered` with the head and
the body that came with it, then `more`, or `lost`. It goes back to the pool by itself when both messages are whole.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import httptools

from router.wire.known import Memory

CONNECT_SECONDS = 2.0
IDLE_SECONDS = 4.0
"""How long an unused connection is kept: below the five seconds after which most engines close theirs."""

HEAD_LIMIT = 262_144
"""Bytes of an answer's head."""

Headers = list[tuple[bytes, bytes]]


class Answered(NamedTuple):
    """The head of an engine's answer. `length` None: chunked, or until the connection ends."""

    status: int
    headers: Headers
    length: int | None


class User(Protocol):
    """Whoever sent the request. After `ended`, or `lost`, nothing more comes."""

    def answered(self, head: Answered, body: bytes, ended: bool) -> None: ...
    def more(self, body: bytes, ended: bool) -> None: ...
    def lost(self, why: str) -> None: ...
    def engine_full(self, full: bool) -> None: ...


class Connection(asyncio.Protocol):
    """`used` is whether it has served a request before: then a loss before the answer may only mean that the engine closed it."""

    __slots__ = (
        "_bodyless",
        "_chunked",
        "_ended",
        "_first",
        "_head",
        "_head_bytes",
        "_headers",
        "_interim",
        "_keep",
        "_length",
        "_nonsense",
        "_parser",
        "_parts",
        "_poisoned",
        "_pool",
        "_told",
        "_transport",
        "_user",
        "closed",
        "idle_since",
        "used",
        "whole",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._user: User | None = None
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._parser: Any = httptools.HttpResponseParser(self)
        self._poisoned = False
        self._interim = False
        self.closed = False
        self.used = False
        self.whole = True
        self.idle_since = 0.0

    # the user's side

    def send(self, user: User, data: bytes, *, whole: bool, bodyless: bool) -> None:
        """Begin a request with these bytes; `whole`: nothing follows by `write`; `bodyless`: a HEAD, whose answer has no body."""
        self._user = user
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._head: Answered | None = None
        self._head_bytes = 0
        self._length: int | None = None
        self._chunked = self._told = self._ended = self._keep = self._nonsense = False
        self._bodyless = bodyless
        self._first = not bodyless
        self.whole = whole
        self._transport.write(data)

    def write(self, data: bytes, *, whole: bool) -> None:
        """More of the request."""
        self.whole = whole
        if not self.closed:
            self._transport.write(data)

    def pause(self) -> None:
        """Read no more of the answer for now."""
        if not self.closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self.closed:
            self._transport.resume_reading()

    def abandon(self) -> None:
        """Nobody wants the answer any more: the engine sees the connection end at once."""
        self._user = None
        self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        user = self._user
        if user is None:
            self._transport.abort()
            return
        first, self._first = self._first, False
        if first and (at := self._pool.memory.body_at(data)) >= 0:
            self._keep = self._told = True
            body = data[at:]
            self._finish()
            user.answered(Answered(200, [*self._pool.usual, (b"content-length", b"%d" % len(body))], len(body)), body, True)
        else:
            self._parse(user, data, first)

    def _parse(self, user: User, data: bytes, first: bool) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"the engine's answer is not HTTP: {error}")
            return
        if self._head is None:
            self._head_bytes += len(data)
            if self._nonsense:
                self._fail("the status of the engine's answer is none")
            elif self._head_bytes > HEAD_LIMIT:
                self._fail("the head of the engine's answer is too long")
            return
        body = b"".join(self._parts) if len(self._parts) != 1 else self._parts[0]
        self._parts.clear()
        if self._ended:
            if first and self._head.status == 200 and self._keep and self._length and not self._poisoned:
                self._pool.remember(data, self._length, self._headers)
            self._finish()
        if self._told:
            if body or self._ended:
                user.more(body, self._ended)
        else:
            self._told = True
            user.answered(self._head, body, self._ended)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self)
        user, self._user = self._user, None
        if user is None:
            return
        if self._told and self._length is None and not self._chunked and exc is None:
            user.more(b"", True)
        else:
            user.lost("the engine closed the connection" if exc is None else f"the connection to the engine broke: {exc}")

    def pause_writing(self) -> None:
        if self._user is not None:
            self._user.engine_full(True)

    def resume_writing(self) -> None:
        if self._user is not None:
            self._user.engine_full(False)

    # httptools' side

    def on_message_begin(self) -> None:
        if self._user is None or self._ended:
            self._poisoned = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is None and not self._ended:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._ended:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._interim = True
            self._headers = []
            return
        for name, value in self._headers:
            if name == b"content-length":
                self._length = int(value)
            elif name == b"transfer-encoding":
                self._chunked = True
        if status > 599:
            self._nonsense = True
            return
        self._keep = self._parser.should_keep_alive()
        self._head = Answered(status, self._headers, self._length)
        if self._bodyless or status in (204, 304):
            self._ended = True
            self._poisoned = self._poisoned or self._bodyless

    def on_body(self, body: bytes) -> None:
        if not self._ended:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._ended = True

    # inside

    def _finish(self) -> None:
        """The answer is whole: keep the connection if it can serve another."""
        self._user = None
        if self.whole and not self._poisoned and not self.closed and self._keep and self._pool.keep(self):
            self.used = True
        else:
            self._transport.abort() if not self.whole else self._transport.close()

    def _fail(self, why: str) -> None:
        user, self._user = self._user, None
        self._transport.abort()
        if user is not None:
            user.lost(why)


class Pool:
    """The connections to one address, newest first. `close` ends them with the route; requests under way end by themselves."""

    def __init__(self, host: str, port: int, now: Callable[[], float]) -> None:
        self._host = host
        self._port = port
        self._now = now
        self._idle: deque[Connection] = deque()  # bounded by the most requests under way at once
        self._dialing: set[asyncio.Task[None]] = set()
        self._closed = False
        self.memory = Memory()
        self.usual: Headers = []

    def remember(self, data: bytes, length: int, headers: Headers) -> None:
        """A whole answer with status 200 that came in one read; the next ones are likely to begin with the same bytes."""
        if self.memory.learn(data, length, headers):
            self.usual = [field for field in headers if field[0] != b"content-length"]

    def take(self) -> Connection | None:
        """A kept connection that is fit for use, or None: dial."""
        oldest = self._now() - IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.idle_since >= oldest:
                return connection
            connection.abandon()
        return None

    def dial(self, done: Callable[[Connection | str], None]) -> asyncio.Task[None]:
        """Connect; `done` gets the connection or what went wrong. Cancel the task to give up; `done` is not called then."""
        task = asyncio.get_running_loop().create_task(self._dial(done))
        self._dialing.add(task)
        task.add_done_callback(self._dialing.discard)
        return task

    async def _dial(self, done: Callable[[Connection | str], None]) -> None:
        result: Connection | str
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, result = await asyncio.get_running_loop().create_connection(lambda: Connection(self), self._host, self._port)
        except TimeoutError:
            result = f"no connection within {CONNECT_SECONDS:g} s"
        except OSError as error:
            result = f"no connection: {error.strerror or error}"
        done(result)

    def keep(self, connection: Connection) -> bool:
        """Take a connection back; False when the route has ended."""
        if self._closed:
            return False
        connection.idle_since = self._now()
        self._idle.append(connection)
        return True

    def forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self) -> None:
        """Close what has not been used for long; to be called every few seconds."""
        oldest = self._now() - IDLE_SECONDS
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().abandon()

    def close_idle(self) -> None:
        while self._idle:
            self._idle.pop().abandon()

    def close(self) -> None:
        """The route has ended: no connection is kept from here on."""
        self._closed = True
        self.close_idle()
