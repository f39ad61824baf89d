"""How long one request may take: until the first byte, between bytes, and in all."""

from __future__ import annotations

from enum import Enum

from stoker.specs import Routing

SLOW_READER_SECONDS = 60.0
"""How long a client may leave its answer unread."""


class Overdue(Enum):
    """What ran out; the value goes into the message."""

    FIRST_BYTE = "did not begin its answer within {:g} s (routing.first_byte_timeout)"
    IDLE = "was silent for {:g} s (routing.idle_timeout)"
    TOTAL = "took longer than {:g} s (routing.timeout)"
    READER = "was not read by the client for {:g} s"


class Deadline:
    """Times are monotonic seconds. `sent_at` is when the engine had the request, `byte_at` when it last sent anything."""

    __slots__ = ("_routing", "byte_at", "first_byte_at", "full_since", "sent_at", "started_at")

    def __init__(self, routing: Routing, now: float) -> None:
        self._routing = routing
        self.started_at = now
        self.sent_at = now
        self.byte_at = 0.0
        self.first_byte_at = 0.0
        self.full_since = 0.0

    def first_byte_seconds(self) -> float | None:
        """From the request to the first byte of the answer; None before it."""
        return self.first_byte_at - self.sent_at if self.first_byte_at else None

    def overdue(self, now: float) -> tuple[Overdue, float] | None:
        """What ran out, and how many seconds it was, if anything did. Silence while the client reads nothing is not the engine's."""
        routing = self._routing
        if now - self.started_at >= routing.timeout:
            return Overdue.TOTAL, routing.timeout
        if not self.first_byte_at:
            return (Overdue.FIRST_BYTE, routing.first_byte_timeout) if now - self.sent_at >= routing.first_byte_timeout else None
        if self.full_since:
            return (Overdue.READER, SLOW_READER_SECONDS) if now - self.full_since >= SLOW_READER_SECONDS else None
        return (Overdue.IDLE, routing.idle_timeout) if now - self.byte_at >= routing.idle_timeout else None
