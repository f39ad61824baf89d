"""One line per proxied request, as JSON: ids, names and timings; never a prompt, a query, a header or a secret.

Written only where the process logs as JSON (STOKER_LOG_FORMAT=json). Lines are collected and written together by the plane's tick,
so that a request costs no system call of its own; what does not fit is dropped and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from router.exchange import Exchange

LINES_LIMIT = 20_000
"""Lines that wait to be written; a tick is a quarter of a second."""

PATH_LIMIT = 200
"""Characters of a path that are written."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="access"):
    """`time` in seconds since the epoch; `seconds`, `queued` and `first_byte` are durations. `token` is a token's id, not its secret."""

    time: float
    id: str
    method: str
    path: str
    status: int
    seconds: float
    service: str = ""
    session: str = ""
    token: str = ""
    queued: float = 0.0
    first_byte: float | None = None


class AccessLog:
    """`write` gets whole lines."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._lines: deque[Line] = deque()  # bounded by LINES_LIMIT
        self._encoder = msgspec.json.Encoder()
        self.dropped = 0

    def ended(self, exchange: Exchange, status: int, now: float, wall: float, first_byte: float | None) -> None:
        """A request is over; `now` is monotonic."""
        if len(self._lines) >= LINES_LIMIT:
            self.dropped += 1
            return
        request, lease, principal = exchange.request, exchange.lease, exchange.principal
        self._lines.append(
            Line(
                time=round(wall, 3),
                id=request.id,
                method=request.method,
                path=request.path[:PATH_LIMIT],
                status=status,
                seconds=round(now - exchange.began_at, 6),
                service=exchange.service.name if exchange.service is not None else "",
                session=lease.route.session if lease is not None else "",
                token=principal.id if principal is not None else "",
                queued=round((lease.opened_at if lease is not None else now) - exchange.queued_since, 6) if exchange.queued_since else 0.0,
                first_byte=round(first_byte, 6) if first_byte is not None else None,
            )
        )

    def flush(self) -> None:
        """Write what waits."""
        if self._lines:
            text = b"\n".join(self._encoder.encode(line) for line in self._lines) + b"\n"
            self._lines.clear()
            self._write(text.decode())
