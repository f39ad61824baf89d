"""Where one exchange stands."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """In the order they come; a failure before the first byte leads from SENDING back to WAITING, and any of them may be the last."""

    READING = 0
    WAITING = 1
    SENDING = 2
    ANSWERING = 3
    OVER = 4
