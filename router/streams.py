"""Server-sent events on their way through: whole events only, and an honest end when the engine breaks off.

A client never sees half an event: what follows the last blank line of a read waits for the next one (at most HELD_LIMIT bytes).
So an error event can be put behind it at any time, and a comment when the engine is silent.
"""

from __future__ import annotations

import msgspec

PING = b": ping\n\n"
PING_SECONDS = 15.0
HELD_LIMIT = 65_536
_DONE = b"data: [DONE]"


class EventStream:
    """The body of one stream. `pass_on` gives what may go to the client now."""

    __slots__ = ("_held", "_is_done")

    def __init__(self) -> None:
        self._held = b""
        self._is_done = False

    def pass_on(self, data: bytes) -> bytes:
        """`data` and what was held back, up to the end of the last whole event."""
        if self._held:
            data = self._held + data
            self._held = b""
        if data[-2:] != b"\n\n" and data[-4:] != b"\r\n\r\n":
            end = _last_event(data)
            if len(data) - end < HELD_LIMIT:
                self._held = data[end:]
                data = data[:end]
        if data[-14:-2] == _DONE or _DONE in data[-18:]:
            self._is_done = True
        return data

    def rest(self) -> bytes:
        """What is left when the engine has ended the stream itself."""
        held, self._held = self._held, b""
        return held

    @property
    def is_done(self) -> bool:
        """Whether `[DONE]` went by: a loss after it is no loss."""
        return self._is_done


def _last_event(data: bytes) -> int:
    """The offset behind the last blank line, 0 without one."""
    return max(data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0, data.rfind(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0)


def error_event(code: str, message: str, request_id: str) -> bytes:
    """The last event of a stream that could not be finished."""
    error = {"message": message, "type": "server_error", "code": code, "param": None, "request_id": request_id}
    return b"event: error\ndata: " + msgspec.json.encode({"error": error}) + b"\n\n"


def progress_comment(phase: str | None, position: int, eta_seconds: float | None) -> bytes:
    """What a held stream is told while it waits."""
    eta = round(eta_seconds, 1) if eta_seconds is not None else None
    return b": " + msgspec.json.encode({"phase": phase, "position": position, "eta_seconds": eta}) + b"\n\n"


def is_event_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether these are the headers of a stream that events can be added to: not of a compressed one."""
    kind = encoding = b""
    for name, value in headers:
        if name == b"content-type":
            kind = value[:17].lower()
        elif name == b"content-encoding":
            encoding = value.lower()
    return kind == b"text/event-stream" and encoding in (b"", b"identity")
