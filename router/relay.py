"""The way back: what a client gets of an engine's answer, and of the router's own words, in the shape that has begun.

1. Nothing was sent yet: a whole answer, the engine's or the router's own.
2. An event stream has begun: more events; what goes wrong is an event too.
3. Another body has begun: more of it; what goes wrong leaves it unterminated.
"""

from __future__ import annotations

from typing import Protocol

from router import answers, cors, streams
from router.request import Request
from router.wire.heads import Headers, answer_headers
from router.wire.upstream import Answered
from stoker.errors import StokerError

PROGRESS_SECONDS = 1.0


class Client(Protocol):
    """What a driver does for an exchange. After `ended`, or `cut`, it is told nothing more."""

    def start(self, status: int, headers: Headers, body: bytes, ended: bool) -> None: ...
    def send(self, body: bytes, ended: bool) -> None: ...
    def cut(self) -> None:
        """Leave the body unterminated and close the connection."""

    def hold_body(self, hold: bool) -> None:
        """Stop reading the request's body, or go on."""


class Relay:
    """`status` is what the client was told, 0 before; `aloud` whether it was told 200 while its request still waits; `origin` is
    the web page that may read the answer, empty for others."""

    __slots__ = ("_client", "_request", "_stream", "aloud", "origin", "status", "told_at")

    def __init__(self, client: Client, request: Request) -> None:
        self._client = client
        self._request = request
        self._stream: streams.EventStream | None = None
        self.aloud = False
        self.origin = b""
        self.status = 0
        self.told_at = 0.0

    @property
    def is_done(self) -> bool:
        """Whether an event stream has said that it is complete."""
        return self._stream is not None and self._stream.is_done

    def answer(self, head: Answered, body: bytes, ended: bool, session: str, queued_ms: int | None) -> None:
        """The engine's answer begins, with what of its body came along."""
        headers = answer_headers(head.headers)
        if head.length is None and streams.is_event_stream(headers):
            self._stream = streams.EventStream()
            body = self._stream.pass_on(body) + (self._stream.rest() if ended else b"")
        if self.aloud:
            self._client.send(body, ended)
            return
        self.status = head.status
        if self.origin:
            headers = cors.replace(headers, self.origin)
        headers.append((b"x-request-id", self._request.id.encode("latin-1")))
        headers.append((b"x-stoker-session", session.encode()))
        if queued_ms is not None:
            headers.append((b"x-stoker-queued-ms", b"%d" % queued_ms))
        self._client.start(head.status, headers, body, ended)

    def fits(self, head: Answered) -> bool:
        """Whether this answer can follow what the client has been told: after a 200 for a held stream, only an event stream."""
        return not self.aloud or (head.status == 200 and streams.is_event_stream(head.headers))

    def more(self, body: bytes, ended: bool) -> None:
        """More of the answer, or its end."""
        if self._stream is not None:
            body = self._stream.pass_on(body)
            if ended:
                body += self._stream.rest()
        if body or ended:
            self._client.send(body, ended)

    def refuse(self, error: StokerError) -> None:
        """The router's own answer; as an event where the stream has begun."""
        if self.status:
            self._client.send(streams.error_event(error.code, error.message, self._request.id), True)
            return
        found = answers.answer(error, self._request.id)
        self.status = found.status
        headers = [*found.headers, *cors.granted(self.origin)] if self.origin else found.headers
        self._client.start(found.status, headers, b"" if self._request.method == "HEAD" else found.body, True)

    @property
    def can_tell(self) -> bool:
        """Whether an error can still be told: nothing was sent, or an event stream."""
        return not self.status or self._stream is not None or self.aloud

    def broken(self, why: str, code: str = "stream_interrupted") -> None:
        """The answer will not be finished."""
        if self._stream is not None or self.aloud:
            self._client.send(streams.error_event(code, why, self._request.id), True)
        else:
            self._client.cut()

    def cut(self) -> None:
        """The client does not read; nothing more is said."""
        self._client.cut()

    def ping(self, now: float, byte_at: float) -> None:
        """A comment after a silence, on event streams."""
        if self._stream is not None and now - max(byte_at, self.told_at) >= streams.PING_SECONDS:
            self.told_at = now
            self._client.send(streams.PING, False)

    def begin_aloud(self) -> None:
        """200 to a stream that has to wait."""
        self.aloud = True
        self.status = 200
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        self._client.start(200, [*headers, *self._own()], b"", False)

    def permit(self, headers: Headers) -> None:
        """Answer a browser's question whether a page may call."""
        self.status = 204
        self._client.start(204, [*headers, *self._own()], b"", True)

    def _own(self) -> Headers:
        own = [(b"x-request-id", self._request.id.encode("latin-1"))]
        return [*own, *cors.granted(self.origin)] if self.origin else own

    def progress(self, now: float, phase: str | None, position: int, eta_seconds: float | None) -> None:
        """Where a held stream stands."""
        self.told_at = now
        self._client.send(streams.progress_comment(phase, position, eta_seconds), False)
