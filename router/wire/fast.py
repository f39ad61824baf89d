"""The fast driver: what goes to an engine passes from the inbound parser to the upstream connection without ASGI, task or await.

A `FastCycle` takes the place of uvicorn's request-response cycle, so that pipelining, keep-alive and shutdown are one
mechanism for both kinds; everything that is not for an engine takes uvicorn's way, behind the same guard.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from router.exchange import Exchange
from router.request import Place, Request
from router.wire.guard import Guard, Phase
from router.wire.heads import Headers
from router.wire.known import Memory
from stoker.errors import InvalidRequest

if TYPE_CHECKING:
    from router.plane import Plane


class FastProtocol(Guard):
    """`fast` False: the reference driver gets everything, behind the same guard."""

    def __init__(
        self,
        plane: Plane,
        fast: bool,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._plane = plane
        self._fast = fast
        self._is_for_engine = False
        self._fresh: FastCycle | None = None
        self._memory = Memory()
        self._known: tuple[Request, Place]

    @property
    def _current(self) -> Any:
        """The request that is being read, or was read last: uvicorn's cycle or ours."""
        return self.cycle

    def data_received(self, data: bytes) -> None:
        between = self._phase is Phase.IDLE and self.active is None and not self._doomed
        if between and (at := self._memory.body_at(data)) >= 0:
            self._again(data[at:])
            return
        before = self._current
        super().data_received(data)
        fresh, self._fresh = self._fresh, None
        if fresh is not None and self.active is fresh:
            fresh.begin()
        cycle = self._current
        if between and cycle is not before and isinstance(cycle, FastCycle):
            self._remember(data, cycle)

    def _again(self, body: bytes) -> None:
        """The head that was there before, with a whole body."""
        self._phase, self._since = Phase.ANSWER, time.monotonic()
        request, place = self._known
        self.cycle = self.active = cycle = FastCycle(self, request.again(len(body)), place, True, True)  # type: ignore[assignment]
        cycle.serve(body)

    def _remember(self, data: bytes, cycle: FastCycle) -> None:
        request = cycle.exchange.request
        if request.length and cycle.is_plain and self._refusal is None and self._memory.learn(data, request.length, request.headers):
            self._known = (request, cycle.exchange.place)

    def head_complete(self) -> None:
        host = next((value for name, value in self.headers if name == b"host"), b"")
        place = self._plane.addressing.place(self.url, host)
        self._is_for_engine = place is not None
        if place is None or not self._fast:
            super().head_complete()
            return
        try:
            request = Request(self.parser.get_method().decode("ascii"), self.url, self.headers)
        except InvalidRequest as error:
            self._refusal = error
            return
        if request.upgrades or (request.prefers_async and request.method == "POST"):
            super().head_complete()
            return
        self._take(request, place)

    def _take(self, request: Request, place: Place) -> None:
        waits = self.cycle is not None and not self.cycle.response_complete
        modern = self.parser.get_http_version() == "1.1"
        self.cycle = cycle = FastCycle(self, request, place, modern, modern and self.parser.should_keep_alive())  # type: ignore[assignment]
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, None))  # type: ignore[arg-type]
        else:
            self.active = self._fresh = cycle

    def begin(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, FastCycle):
            cycle.begin()
        else:
            super().begin(cycle, app)

    def own_body_limit(self) -> float:
        return float("inf") if self._is_for_engine else super().own_body_limit()

    def on_body(self, body: bytes) -> None:
        cycle = self._current
        if not isinstance(cycle, FastCycle):
            super().on_body(body)
        elif self._refusal is None:
            self._body_bytes += len(body)
            cycle.feed(body)

    def message_complete(self) -> None:
        cycle = self._current
        if isinstance(cycle, FastCycle):
            fresh, self._fresh = self._fresh, None
            cycle.feed_end()
            if fresh is not None:
                fresh.begin()
        else:
            super().message_complete()

    def interrupt(self) -> bool:
        cycle = self.active
        if not isinstance(cycle, FastCycle):
            return super().interrupt()
        if cycle is not self._current or self._phase is not Phase.BODY or cycle.response_started:
            return False
        cycle.exchange.gone()
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        if isinstance(self.active, FastCycle):
            self.active.exchange.client_full(True)

    def resume_writing(self) -> None:
        super().resume_writing()
        if isinstance(self.active, FastCycle):
            self.active.exchange.client_full(False)

    def connection_lost(self, exc: Exception | None) -> None:
        active, self.active = self.active, None
        self.pipeline.clear()
        if isinstance(active, FastCycle):
            active.exchange.gone()
        elif active is not None:
            active.disconnected = True
            active.message_event.set()
        super().connection_lost(exc)


class _Event:
    """uvicorn wakes the reader of a cycle's body with it; a FastCycle has none."""

    def set(self) -> None:
        return


class FastCycle:
    """One request on this connection: the `Client` of its exchange, and a cycle to uvicorn's protocol."""

    __slots__ = (
        "_begun", "_chunked", "_modern", "_pending", "_protocol", "_whole", "disconnected", "exchange", "keep_alive", "message_event",
        "response_complete", "response_started",
    )  # fmt: skip

    def __init__(self, protocol: FastProtocol, request: Request, place: Place, modern: bool, keep_alive: bool) -> None:
        self._protocol = protocol
        self._modern = modern
        self._pending: list[bytes] = []
        self._begun = self._whole = self._chunked = False
        self.keep_alive = keep_alive
        self.response_started = self.response_complete = self.disconnected = False
        self.message_event = _EVENT
        self.exchange = Exchange(protocol._plane, request, place, self)

    # the parser's side

    def begin(self) -> None:
        """Its turn has come."""
        exchange = self.exchange
        self._begun = True
        exchange.begin()
        if exchange.request.continues and not self.response_started and not self._whole and not self._pending:
            self._protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        for data in self._pending:
            exchange.body(data)
        self._pending.clear()
        if self._whole:
            exchange.body_ended()

    def serve(self, body: bytes) -> None:
        """The request is here as a whole, and it is its turn."""
        self._begun = self._whole = True
        exchange = self.exchange
        exchange.begin()
        exchange.body(body)
        exchange.body_ended()

    @property
    def is_plain(self) -> bool:
        """Whether it came whole, on a connection that may be kept, and waits for nothing but its answer."""
        return self._whole and self._modern and self.keep_alive and not self.exchange.request.continues

    def feed(self, data: bytes) -> None:
        if self._begun:
            self.exchange.body(data)
        else:
            self._pending.append(data)

    def feed_end(self) -> None:
        self._whole = True
        if self._begun:
            self.exchange.body_ended()

    # the exchange's side

    def start(self, status: int, headers: Headers, body: bytes, ended: bool) -> None:
        self.response_started = True
        protocol = self._protocol
        usual = protocol.server_state.default_headers
        closing = bool(usual) and usual[-1] == CLOSE_HEADER
        if usual:
            headers = [*(usual[:-1] if closing else usual), *headers]
        parts: list[bytes] = [STATUS_LINE[status], *[b"%b: %b\r\n" % field for field in headers]]
        sized = b"content-length" in dict(headers) or status in (204, 304) or self.exchange.request.method == "HEAD"
        if not sized:
            self._chunked = self._modern
            self.keep_alive = self.keep_alive and self._modern
        if self._chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        self.keep_alive = self.keep_alive and self._whole and not closing
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        if body or ended:
            parts.append(self._framed(body, ended))
        protocol.transport.write(b"".join(parts))
        if ended:
            self._end()
        elif protocol.flow.write_paused:
            self.exchange.client_full(True)

    def send(self, body: bytes, ended: bool) -> None:
        data = self._framed(body, ended)
        if data:
            self._protocol.transport.write(data)
        if ended:
            self._end()

    def cut(self) -> None:
        self.response_complete = True
        protocol = self._protocol
        protocol.transport.abort() if protocol.flow.write_paused else protocol.transport.close()

    def hold_body(self, hold: bool) -> None:
        if hold:
            self._protocol.flow.pause_reading()
        elif not self._protocol.pipeline:
            self._protocol.flow.resume_reading()

    def _framed(self, body: bytes, ended: bool) -> bytes:
        if not self._chunked:
            return body
        last = b"0\r\n\r\n" if ended else b""
        return b"%x\r\n%b\r\n%b" % (len(body), body, last) if body else last

    def _end(self) -> None:
        self.response_complete = True
        protocol = self._protocol
        if not self.keep_alive:
            protocol.transport.close() if self._whole else protocol.linger()
        protocol.on_response_complete()


_EVENT = _Event()
