"""One proxied request, from the head to the closed lease: callbacks only, no task and no await of its own.

Two drivers feed it (`begin`, `body`, `body_ended`, `gone`, `client_full`) and carry out what relay.py says to the client: the ASGI
endpoint of inference.py, and the protocol of wire/fast.py. The engine's side comes from wire/upstream.py (`answered`, `more`, `lost`).

 1. Who asks, and for which service: from the place, the query, a header, or `model` in the body.
 2. May they; is the path the operator's; is the body too large.
 3. A lease: now, or after waiting.
 4. A kept connection, or a new one; the request goes out, in one piece where the body is short.
 5. Before the first byte of an answer another route may be tried; from then on what comes is passed on.
 6. The end, whoever causes it, is `_over`: once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from router.access import Principal
from router.admission import Waiter
from router.backfill import BATCH, failure, priority_of
from router.body import KEPT_FOR_RETRY, Body, chunk
from router.cors import allows, preflight
from router.deadline import Deadline, Overdue
from router.directory import Service
from router.finding import find_model, find_service, identify, use
from router.metrics import CLIENT_LEFT
from router.outgoing import message, model_at
from router.relay import PROGRESS_SECONDS, Client, Relay
from router.request import Place, Request, path_of
from router.retries import Retries
from router.route import Lease, Outcome
from router.stage import State
from router.wire.upstream import Answered, Connection
from stoker.errors import BodyTooLarge, EngineFailed, EngineTimeout, HandedBack, StokerError, Unauthenticated

if TYPE_CHECKING:
    from router.plane import Plane


class Exchange:
    """`service` is None until it is known; `principal` where no valid token came (`denied` says why)."""

    __slots__ = (
        "_body", "_complete", "_connection", "_deadline", "_dialing", "_held", "_pause", "_relay", "_retries", "_uploading", "_waiter",
        "began_at", "client", "denied", "lease", "path_at_engine", "place", "plane", "principal", "priority", "queued_since", "request",
        "service", "state",
    )  # fmt: skip

    def __init__(self, plane: Plane, request: Request, place: Place, client: Client) -> None:
        self.plane = plane
        self.request, self.place, self.client = request, place, client
        self.state = State.READING
        self.principal: Principal | None = None
        self.denied: Unauthenticated | None = None
        self.path_at_engine = request.path if place.target is request.target else path_of(place.target)
        self.service: Service | None = None
        self.lease: Lease | None = None
        self.began_at = plane.now()
        self.priority, self.queued_since = 0, 0.0
        self._relay = Relay(client, request)
        self._body = Body(request.content_type)
        self._complete = self._uploading = self._held = False
        self._connection: Connection | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._waiter: Waiter | None = None
        self._deadline: Deadline | None = None
        self._retries: Retries | None = None
        plane.exchanges.add(self)

    # what drivers call

    def begin(self) -> None:
        """The head is here. May answer at once."""
        try:
            if self.request.origin and (permitted := preflight(self.plane.directory, self.request, self.place)) is not None:
                self._relay.permit(permitted)
                self._over(Outcome.LEFT)
                return
            identify(self)
            self.priority = priority_of(self.principal)
            if self.place.service is not None:
                self._use(find_service(self, self.place.service))
            elif self.request.length == 0:
                self._use(find_model(self, None))
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
        try:
            if self._uploading:
                self._upload(b"")
                return
            if self.service is None:
                self._look(last=True)
            if self.state is State.READING:
                self._launch()
        except StokerError as error:
            self._refuse(error)

    def gone(self) -> None:
        """The client has left: the engine is freed at once, and so is the place in the queue."""
        if self.state is not State.OVER:
            self._relay.status = self._relay.status or CLIENT_LEFT
            self._over(Outcome.LEFT)

    def client_full(self, full: bool) -> None:
        """The client reads more slowly than the engine writes, or reads again."""
        if self._deadline is not None:
            self._deadline.byte_at = self.plane.now()
            self._deadline.full_since = self._deadline.byte_at if full else 0.0
        if self._connection is not None and self.state is State.ANSWERING:
            self._connection.pause() if full else self._connection.resume()

    def stop(self) -> None:
        """The router ends before the request did."""
        if self.state is not State.OVER:
            self._break("the router is shutting down", Outcome.LEFT)

    def hand_back(self) -> None:
        """A job's slot is needed: its request ends with a word; a whole answer that is coming in already goes on."""
        if self.state is not State.OVER and self._relay.can_tell:
            self._break("the slot is needed", Outcome.LEFT)

    # the body, and the service that it names

    def _look(self, last: bool) -> None:
        found = self._body.model(last)
        if found is not None:
            self._use(find_model(self, found.value))
            self._check_size()

    def _use(self, service: Service) -> None:
        if self.request.origin and allows(service, self.request.origin):
            self._relay.origin = self.request.origin
        use(self, service)

    def _check_size(self) -> None:
        """Raises BodyTooLarge for what is declared and for what came."""
        limit = self.service.routing.max_body if self.service is not None else self.plane.directory.body_limit
        if max(self._body.size, self.request.length or 0) > limit:
            raise BodyTooLarge(f"the body is larger than {limit} bytes (routing.max_body)")

    def _go_early(self) -> None:
        """The body is too long to be kept for a second try: it goes out as it comes, as soon as there is a route."""
        if self.service is None or any(model_at(route, self.place) for route in self.service.routes):
            return
        if self.state is State.READING:
            self._launch()
        if not self._uploading:
            self._hold(True)

    def _upload(self, data: bytes) -> None:
        self._body.size += len(data)
        self._check_size()
        if self._connection is not None:
            if self.request.length is None:
                data = chunk(data) + (b"0\r\n\r\n" if self._complete else b"")
            self._connection.write(data, whole=self._complete)

    def _hold(self, hold: bool) -> None:
        if hold is not self._held:
            self._held = hold
            self.client.hold_body(hold)

    # a lease

    def _launch(self) -> None:
        assert self.service is not None
        lease = self.plane.admission.try_lease(self.service)
        self._go(lease) if lease is not None else self._wait()

    def _wait(self) -> None:
        assert self.service is not None
        order = self._waiter.order if self._waiter else None
        self._waiter = self.plane.admission.wait(self.service, self._room, priority=self.priority, order=order)
        self.state = State.WAITING
        self.queued_since = self.queued_since or self._waiter.since
        if self.request.asks_progress and not self._relay.status and self._complete and self._body.asks_for_stream():
            self._relay.begin_aloud()
            self._tell_progress(self.plane.now())

    def _room(self, result: Lease | StokerError) -> None:
        self._refuse(result) if isinstance(result, StokerError) else self._go(result)

    def _go(self, lease: Lease) -> None:
        self.lease = lease
        self.state = State.SENDING
        route = lease.route
        if self.queued_since:  # what the operator's paths are was perhaps not known when it came
            try:
                use(self, route.service)
            except StokerError as error:
                self._refuse(error)
                return
        if self._deadline is None:
            self._deadline = Deadline(route.service.routing, self.plane.now())
        lease.reclaim = self.hand_back if self.priority == BATCH else None
        connection = route.pool.take() if self.priority != BATCH else None  # a loss is the engine's then, not an old connection's
        if connection is not None:
            self._send(connection)
        else:
            self._dialing = route.pool.dial(self._dialed)

    def _dialed(self, result: Connection | str) -> None:
        self._dialing = None
        self._failed(result, Outcome.UNREACHABLE) if isinstance(result, str) else self._send(result)

    def _send(self, connection: Connection) -> None:
        assert self.lease is not None and self._deadline is not None
        data = message(self.request, self.place, self.lease.route, self._body, self._complete)
        self._uploading = not self._complete
        self._connection = connection
        self._deadline.sent_at = self.plane.now()
        connection.send(self, data, whole=self._complete, bodyless=self.request.method == "HEAD")
        self._hold(False)

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
        now = self.plane.now()
        self._deadline.byte_at = self._deadline.first_byte_at = route.flowed_at = now
        outcome = Outcome.ERROR if head.status >= 500 else Outcome.FINE
        if not self._relay.fits(head):
            said = body[:2_000].decode(errors="replace") or f"status {head.status}"
            self._relay.refuse(EngineFailed(f"the engine of {route.service.name} refused: {said}"))
            self._over(outcome)
            return
        queued_ms = max(1, int((now - self.queued_since) * 1000)) if self.queued_since else None
        self._body.forget()
        self._relay.answer(head, body, ended, route.session, queued_ms)
        if ended:
            self._over(outcome, ended=True)

    def more(self, body: bytes, ended: bool) -> None:
        """More of the answer, or its end."""
        assert self.lease is not None and self._deadline is not None
        self._deadline.byte_at = self.lease.route.flowed_at = self.plane.now()
        self._relay.more(body, ended)
        if ended:
            self._over(Outcome.ERROR if self._relay.status >= 500 else Outcome.FINE, ended=True)

    def lost(self, why: str) -> None:
        """The connection ended before the answer did."""
        if self.state is not State.ANSWERING:
            self._failed(why, Outcome.BROKEN)
        elif self._relay.is_done:
            self._relay.more(b"", True)
            self._over(Outcome.FINE)
        else:
            self._break(why, Outcome.BROKEN)

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
            self._dialing = route.pool.dial(self._dialed)  # the engine had only closed a connection that it no longer kept
            return
        lease, self.lease = self.lease, None
        self.plane.admission.release(lease, outcome)
        self._retries = self._retries or Retries()
        if can_repeat and (outcome is not Outcome.BROKEN or self.priority != BATCH) and self._retries.allow(self.service, route):
            self._try_again(self._retries)
        else:
            self._refuse(failure(self.priority, outcome, route, f"the engine of {self.service.name} failed: {why}"))

    def _try_again(self, retries: Retries) -> None:
        assert self.service is not None
        lease = self.plane.admission.try_lease(self.service, retries.tried, jump=True)
        if lease is not None:
            self._go(lease)
            return
        self.state = State.WAITING
        self._pause = asyncio.get_running_loop().call_later(retries.pause(), self._after_pause)

    def _after_pause(self) -> None:
        """Any route will do now, also one that failed; without any, the request waits for one."""
        assert self.service is not None
        self._pause = None
        try:
            lease = self.plane.admission.try_lease(self.service, jump=True)
            self._go(lease) if lease is not None else self._wait()
        except StokerError as error:
            self._refuse(error)

    def _refuse(self, error: StokerError) -> None:
        """The router's own answer, or its last event."""
        self._relay.refuse(error)
        self._over(Outcome.STALLED if isinstance(error, EngineTimeout) else Outcome.LEFT)

    def _break(self, why: str, outcome: Outcome) -> None:
        """End an answer that has begun, honestly; before that, say what happened."""
        if not self._relay.status:
            self._refuse(failure(self.priority, outcome, None, f"the request was cut off: {why}"))
            return
        code = HandedBack.code if self.priority == BATCH and outcome is Outcome.LEFT else "stream_interrupted"
        self._relay.broken(f"the stream of {self.service.name if self.service else ''} broke off: {why}", code)
        self._over(outcome)

    # time

    def tick(self, now: float) -> None:
        """Deadlines, pings and progress; to be called a few times a second."""
        if self.state is State.WAITING:
            if self._relay.aloud and now - self._relay.told_at >= PROGRESS_SECONDS:
                self._tell_progress(now)
        elif self._deadline is not None and self._connection is not None:
            overdue = self._deadline.overdue(now)
            if overdue is not None:
                self._overdue(*overdue)
            elif not self._deadline.full_since:
                self._relay.ping(now, self._deadline.byte_at)

    def _overdue(self, what: Overdue, seconds: float) -> None:
        why = what.value.format(seconds)
        if what is Overdue.READER:
            self._relay.cut()
            self._over(Outcome.LEFT)
        elif self.state is State.ANSWERING:
            self._break(why, Outcome.STALLED)
        else:
            self._refuse(EngineTimeout(f"the engine of {self.service.name if self.service else ''} {why}"))

    def _tell_progress(self, now: float) -> None:
        assert self.service is not None
        phase, eta = self.plane.progress(self.service)
        self._relay.progress(now, phase, self.plane.admission.position(self._waiter) if self._waiter is not None else 0, eta)

    # the end

    def _over(self, outcome: Outcome, ended: bool = False) -> None:
        """Nothing more happens here. `ended`: the engine's connection has gone back to its pool by itself."""
        self.state = State.OVER
        plane = self.plane
        plane.exchanges.discard(self)
        if not ended or not self._complete:
            self._let_go()
        self._connection = None
        self._hold(False)
        if self._retries is not None:
            self._retries.close()
        first_byte = self._deadline.first_byte_seconds() if self._deadline is not None else None
        plane.ended(self, self._relay.status, first_byte)
        lease, self.lease = self.lease, None
        if lease is not None:
            plane.admission.release(lease, outcome)
        del self.client, self._relay  # else who serves the client, and this, would keep each other until the collector comes

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
