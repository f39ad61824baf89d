"""One proxied request, from the head to the closed lease: callbacks only, no task and no await of its own.

Two drivers feed it (`begin`, `body`, `body_ended`, `gone`, `client_full`) and carry out what it says to its `Client`: the ASGI endpoint
of inference.py, and the protocol of wire/fast.py. The engine's side comes from wire/upstream.py (`answered`, `more`, `lost`).

 1. Who asks, and for which service: from the place, the query, a header, or `model` in the body.
 2. May they; is the path the operator's; is the body too large.
 3. A lease: now, or after waiting.
 4. A kept connection, or a new one; the request goes out, in one piece where the body is short.
 5. Before the first byte of an answer another route may be tried; from then on what comes is passed on.
 6. The end, whoever causes it, is `_over`: once.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from router import answers, streams
from router.access import Principal
from router.admission import Waiter
from router.body import KEPT_FOR_RETRY, Body
from router.deadline import Deadline, Overdue
from router.directory import Service
from router.finding import find_model, find_service, identify, use
from router.metrics import CLIENT_LEFT
from router.request import Place, Request, path_of
from router.route import Lease, Outcome, Route
from router.wire.heads import Headers, answer_headers, request_head
from router.wire.upstream import Answered, Connection
from stoker.errors import BodyTooLarge, EngineFailed, EngineTimeout, StokerError, Unauthenticated

if TYPE_CHECKING:
    from router.plane import Plane

RETRY_PAUSE_SECONDS = 0.15
"""Before the only route is tried again; doubled each time. By then the mirror knows of a session that ended."""

RETRIES_AT_LEAST = 3
RETRY_SHARE = 5
"""Retries under way: at most one in so many requests of the service, but always RETRIES_AT_LEAST."""

PROGRESS_SECONDS = 1.0
_BODYLESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"})


class State(IntEnum):
    READING = 0
    WAITING = 1
    SENDING = 2
    ANSWERING = 3
    OVER = 4


class Client(Protocol):
    """What a driver does for an exchange. After `ended`, or `cut`, the exchange says nothing more."""

    def start(self, status: int, headers: Headers, body: bytes, ended: bool) -> None: ...
    def send(self, body: bytes, ended: bool) -> None: ...
    def cut(self) -> None:
        """Leave the body unterminated and close the connection."""

    def hold_body(self, hold: bool) -> None:
        """Stop reading the request's body, or go on."""


class Exchange:
    """`service` is None until it is known; `principal` where no valid token came (`denied` says why)."""

    __slots__ = (
        "_attempts", "_body", "_complete", "_connection", "_deadline", "_dialing", "_held", "_pause", "_retrying", "_started", "_stream",
        "_told_at", "_tried", "_uploading", "_waiter", "_waits_aloud", "began_at", "client", "denied", "lease", "path_at_engine",
        "place", "plane", "principal", "queued_since", "request", "service", "state", "status",
    )  # fmt: skip

    def __init__(self, plane: Plane, request: Request, place: Place, client: Client) -> None:
        self.plane = plane
        self.request = request
        self.place = place
        self.client = client
        self.state = State.READING
        self.principal: Principal | None = None
        self.denied: Unauthenticated | None = None
        self.path_at_engine = request.path if place.target is request.target else path_of(place.target)
        self.service: Service | None = None
        self.lease: Lease | None = None
        self.status = 0
        self.began_at = plane.now()
        self.queued_since = 0.0
        self._body = Body(request.content_type)
        self._complete = self._uploading = self._started = self._held = self._waits_aloud = self._retrying = False
        self._connection: Connection | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._waiter: Waiter | None = None
        self._deadline: Deadline | None = None
        self._stream: streams.EventStream | None = None
        self._tried: set[Route] = set()
        self._attempts = 0
        self._told_at = 0.0
        plane.exchanges.add(self)

    # what drivers call

    def begin(self) -> None:
        """The head is here. May answer at once."""
        try:
            identify(self)
            if self.place.service is not None:
                use(self, find_service(self, self.place.service))
            elif self.request.length == 0:
                use(self, find_model(self, None))
            self._check_size()
        except StokerError as error:
            self._refuse(error)

    def body(self, data: bytes) -> None:
        """A piece of the request's body."""
        if self.state is State.OVER:
            return
        try:
            if self._uploading:
                self._upload(data)
                return
            self._body.add(data)
            self._check_size()
            if self.service is None:
                self._look(last=False)
            if self._body.size > KEPT_FOR_RETRY:
                self._go_early()
        except StokerError as error:
            self._refuse(error)

    def body_ended(self) -> None:
        """The request is whole."""
        if self.state is State.OVER:
            return
        self._complete = True
        if self._uploading:
            self._upload(b"")
            return
        try:
            if self.service is None:
                self._look(last=True)
            if self.state is State.READING:
                self._launch()
        except StokerError as error:
            self._refuse(error)

    def gone(self) -> None:
        """The client has left: the engine is freed at once, and so is the place in the queue."""
        if self.state is not State.OVER:
            self.status = self.status if self._started else CLIENT_LEFT
            self._let_go()
            self._over(Outcome.LEFT)

    def client_full(self, full: bool) -> None:
        """The client reads more slowly than the engine writes."""
        if self._deadline is not None:
            self._deadline.full_since = self.plane.now() if full else 0.0
            self._deadline.byte_at = self.plane.now()
        if self._connection is not None and self.state is State.ANSWERING:
            self._connection.pause() if full else self._connection.resume()

    def stop(self) -> None:
        """The router ends before the request did."""
        if self.state is not State.OVER:
            self._break("the router is shutting down", Outcome.LEFT)

    # finding the service

    def _look(self, last: bool) -> None:
        found = self._body.model(last)
        if found is not None:
            use(self, find_model(self, found.value))
            self._check_size()

    def _limit(self) -> int:
        return self.service.routing.max_body if self.service is not None else self.plane.directory.body_limit

    def _check_size(self) -> None:
        """Raises BodyTooLarge for what is declared and for what came."""
        if max(self._body.size, self.request.length or 0) > self._limit():
            raise BodyTooLarge(f"the body is larger than {self._limit()} bytes (routing.max_body)")

    def _upstream_model(self, route: Route) -> str | None:
        """What the engine calls the model, where that is not what the client sent."""
        wanted = route.resolution.upstream_model
        if wanted is None or not self.place.target.startswith(b"/v1/"):
            return None
        return wanted

    def _rewrites(self) -> bool:
        return self.service is not None and any(self._upstream_model(route) for route in self.service.routes)

    # a lease

    def _go_early(self) -> None:
        """The body is too long to be kept for a second try: it goes out as it comes, as soon as there is a route."""
        if self.service is None or self._rewrites():
            return
        if self.state is State.READING:
            self._launch()
        if not self._uploading:
            self._hold(True)

    def _launch(self) -> None:
        assert self.service is not None
        lease = self.plane.admission.try_lease(self.service)
        if lease is not None:
            self._go(lease)
        else:
            self._wait()

    def _wait(self) -> None:
        assert self.service is not None
        self._waiter = self.plane.admission.wait(self.service, self._room, order=self._waiter.order if self._waiter else None)
        self.state = State.WAITING
        self.queued_since = self.queued_since or self._waiter.since
        if self.request.asks_progress and not self._started and self._complete and self._body.asks_for_stream():
            self._waits_aloud = self._started = True
            self.status = 200
            self.client.start(200, self._with_own([(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]), b"", False)
            self._tell_progress(self.plane.now())

    def _room(self, result: Lease | StokerError) -> None:
        if isinstance(result, StokerError):
            self._refuse(result)
        else:
            self._go(result)

    def _go(self, lease: Lease) -> None:
        self.lease = lease
        self.state = State.SENDING
        route = lease.route
        if self.queued_since:
            try:
                use(self, route.service)
            except StokerError as error:
                self._refuse(error)
                return
        if self._deadline is None:
            self._deadline = Deadline(route.service.routing, self.plane.now())
        connection = route.pool.take()
        if connection is not None:
            self._send(connection)
        else:
            self._dialing = route.pool.dial(self._dialed)

    def _dialed(self, result: Connection | str) -> None:
        self._dialing = None
        if isinstance(result, str):
            self._failed(result, Outcome.UNREACHABLE)
        else:
            self._send(result)

    def _send(self, connection: Connection) -> None:
        assert self.lease is not None and self._deadline is not None
        route, request = self.lease.route, self.request
        model = self._upstream_model(route)
        if model is not None and self._complete and self._body.size:
            self._body.replace_model(model)
        body = self._body.kept
        length: int | None
        if self._complete:
            length, chunked = (None if not body and request.method in _BODYLESS else len(body)), False
        else:
            length, chunked = request.length, request.length is None
            body = _chunk(body) if chunked else body
            self._uploading = True
            self._body.forget()
        head = request_head(
            request.method.encode(), self.place.target, request.headers, route.address, route.authorization, request.id, length, chunked
        )
        self._connection = connection
        self._deadline.sent_at = self.plane.now()
        connection.send(self, head + body, whole=self._complete, bodyless=request.method == "HEAD")
        self._hold(False)

    def _upload(self, data: bytes) -> None:
        self._body.size += len(data)
        self._check_size()
        if self._connection is not None:
            if self.request.length is None:
                data = (_chunk(data) if data else b"") + (b"0\r\n\r\n" if self._complete else b"")
            self._connection.write(data, whole=self._complete)

    def _hold(self, hold: bool) -> None:
        if hold is not self._held:
            self._held = hold
            self.client.hold_body(hold)

    # the engine's side

    def engine_full(self, full: bool) -> None:
        """The engine reads the body more slowly than the client sends it."""
        if self._uploading:
            self._hold(full)

    def answered(self, head: Answered, body: bytes, ended: bool) -> None:
        """The engine's answer begins."""
        assert self.lease is not None and self._deadline is not None
        route = self.lease.route
        if head.status == 401 and route.authorization:
            self._failed("another engine answers at its address", Outcome.WRONG_ENGINE)
            return
        self.state = State.ANSWERING
        self._deadline.byte_at = self._deadline.first_byte_at = route.flowed_at = self.plane.now()
        headers = answer_headers(head.headers)
        if head.length is None and _is_event_stream(headers):
            self._stream = streams.EventStream()
            body = self._stream.pass_on(body)
        if self._waits_aloud:
            self._continue_aloud(head, body, ended)
            return
        headers = self._with_own(headers)
        self.status = head.status
        self._started = True
        if ended:
            self._finish()
        self.client.start(head.status, headers, body, ended)

    def more(self, body: bytes, ended: bool) -> None:
        """More of the answer, or its end."""
        assert self.lease is not None and self._deadline is not None
        self._deadline.byte_at = self.lease.route.flowed_at = self.plane.now()
        if self._stream is not None:
            body = self._stream.pass_on(body)
            if ended:
                body += self._stream.rest()
        if ended:
            self._finish()
        if body or ended:
            self.client.send(body, ended)

    def lost(self, why: str) -> None:
        """The connection ended before the answer did."""
        if self.state is not State.ANSWERING:
            self._failed(why, Outcome.BROKEN)
        elif self._stream is not None and self._stream.is_done:
            self._finish()
            self.client.send(b"", True)
        else:
            self._connection = None
            self._break(why, Outcome.BROKEN)

    def _finish(self) -> None:
        """The answer is whole. What the client still uploads is nobody's."""
        if self._connection is not None and not self._complete:
            self._connection.abandon()
        self._over(Outcome.ERROR if self.status >= 500 else Outcome.FINE)

    def _with_own(self, headers: Headers) -> Headers:
        """With the fields that are the router's."""
        headers.append((b"x-request-id", self.request.id.encode("latin-1")))
        if self.lease is not None:
            headers.append((b"x-stoker-session", self.lease.route.session.encode()))
        if self.queued_since:
            headers.append((b"x-stoker-queued-ms", b"%d" % max(1, int((self.plane.now() - self.queued_since) * 1000))))
        return headers

    def _continue_aloud(self, head: Answered, body: bytes, ended: bool) -> None:
        """The client has had its 200 and some comments already; only an event stream goes on from there."""
        if self._stream is not None and head.status == 200:
            if ended:
                self._finish()
            self.client.send(body, ended)
            return
        self.status = head.status
        if not ended and self._connection is not None:
            self._connection.abandon()
        self._over(Outcome.ERROR if head.status >= 500 else Outcome.FINE)
        message = body[:2_000].decode(errors="replace") or f"status {head.status}"
        self.client.send(streams.error_event("engine_failed", f"the engine refused: {message}", self.request.id), True)

    # failing

    def _failed(self, why: str, outcome: Outcome) -> None:
        """Nothing of an answer came: try again where that is safe and allowed, else say so."""
        assert self.lease is not None and self.service is not None
        connection, self._connection = self._connection, None
        route = self.lease.route
        if outcome is Outcome.WRONG_ENGINE and connection is not None:
            connection.abandon()
        can_repeat = self._complete and not self._uploading
        if outcome is Outcome.BROKEN and connection is not None and connection.used and can_repeat and not route.draining:
            self._dialing = route.pool.dial(self._dialed)
            return
        lease, self.lease = self.lease, None
        self.plane.admission.release(lease, outcome)
        if not can_repeat or self._attempts >= self.service.routing.retries or not self._may_retry(self.service):
            self._refuse(EngineFailed(f"the engine of {self.service.name} failed: {why}"))
            return
        self._attempts += 1
        self._tried.add(route)
        again = self.plane.admission.try_lease(self.service, self._tried, jump=True)
        if again is not None:
            self._go(again)
        else:
            self.state = State.WAITING
            pause = RETRY_PAUSE_SECONDS * 2 ** (self._attempts - 1)
            self._pause = asyncio.get_running_loop().call_later(pause, self._again)

    def _again(self) -> None:
        """Any route will do now, also one that failed."""
        assert self.service is not None
        self._pause = None
        self._tried.clear()
        try:
            lease = self.plane.admission.try_lease(self.service, jump=True)
            if lease is not None:
                self._go(lease)
            else:
                self._wait()
        except StokerError as error:
            self._refuse(error)

    def _may_retry(self, service: Service) -> bool:
        if not self._retrying:
            if service.retrying >= max(RETRIES_AT_LEAST, service.in_flight // RETRY_SHARE):
                return False
            self._retrying = True
            service.retrying += 1
        return True

    def _refuse(self, error: StokerError) -> None:
        """The router's own answer; as an event where the stream has begun."""
        self._let_go()
        if self._started:
            self._over(Outcome.LEFT)
            self.client.send(streams.error_event(error.code, error.message, self.request.id), True)
            return
        found = answers.answer(error, self.request.id)
        self.status = found.status
        self._started = True
        self._over(Outcome.LEFT if not isinstance(error, EngineTimeout) else Outcome.STALLED)
        self.client.start(found.status, found.headers, b"" if self.request.method == "HEAD" else found.body, True)

    def _break(self, why: str, outcome: Outcome) -> None:
        """End an answer that has begun, honestly; before that, say what happened."""
        if not self._started:
            self._refuse(EngineFailed(f"the request was cut off: {why}"))
            return
        name = self.service.name if self.service else ""
        self._let_go()
        self._over(outcome)
        if self._stream is not None or self._waits_aloud:
            self.client.send(streams.error_event("stream_interrupted", f"the stream of {name} broke off: {why}", self.request.id), True)
        else:
            self.client.cut()

    # time

    def tick(self, now: float) -> None:
        """Deadlines, pings and progress; to be called a few times a second."""
        if self.state is State.WAITING:
            if self._waits_aloud and now - self._told_at >= PROGRESS_SECONDS:
                self._tell_progress(now)
            return
        deadline = self._deadline
        if deadline is None or self._connection is None:
            return
        overdue = deadline.overdue(now)
        if overdue is not None:
            self._overdue(*overdue)
        elif self._stream is not None and not deadline.full_since and now - max(deadline.byte_at, self._told_at) >= streams.PING_SECONDS:
            self._told_at = now
            self.client.send(streams.PING, False)

    def _overdue(self, what: Overdue, seconds: float) -> None:
        why = what.value.format(seconds)
        if what is Overdue.READER:
            self._let_go()
            self._over(Outcome.LEFT)
            self.client.cut()
        elif self.state is State.ANSWERING:
            self._break(why, Outcome.STALLED)
        else:
            name = self.service.name if self.service else ""
            self._refuse(EngineTimeout(f"the engine of {name} {why}"))

    def _tell_progress(self, now: float) -> None:
        assert self._waiter is not None and self.service is not None
        self._told_at = now
        phase, eta = self.plane.progress(self.service)
        self.client.send(streams.progress_comment(phase, self.plane.admission.position(self._waiter), eta), False)

    # the end

    def _let_go(self) -> None:
        """Of whatever is under way."""
        if self._connection is not None:
            self._connection.abandon()
        if self._dialing is not None:
            self._dialing.cancel()
        if self._pause is not None:
            self._pause.cancel()
        if self._waiter is not None:
            self.plane.admission.leave(self._waiter)

    def _over(self, outcome: Outcome) -> None:
        self.state = State.OVER
        self._connection = None
        plane, service = self.plane, self.service
        plane.exchanges.discard(self)
        lease, self.lease = self.lease, None
        if self._retrying and service is not None:
            service.retrying -= 1
        deadline = self._deadline
        first_byte = deadline.first_byte_at - deadline.sent_at if deadline is not None and deadline.first_byte_at else None
        plane.metrics.ended(service.name if service is not None else "", self.status, plane.now() - self.began_at, first_byte)
        self._hold(False)
        if lease is not None:
            plane.admission.release(lease, outcome)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _is_event_stream(headers: Headers) -> bool:
    kind = encoding = b""
    for name, value in headers:
        if name == b"content-type":
            kind = value[:17].lower()
        elif name == b"content-encoding":
            encoding = value.lower()
    return kind == b"text/event-stream" and encoding in (b"", b"identity")
