"""Times as people read and type them."""

from __future__ import annotations

import datetime
import time

from stoker.errors import InvalidRequest
from stoker.resources import parse_duration


def epoch(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def age(text: object, now: float | None = None) -> str:
    """How long ago, with the one unit that matters: 42s, 5m, 3h, 12d."""
    if not isinstance(text, str):
        return "-"
    seconds = max(0, int((time.time() if now is None else now) - epoch(text)))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def seconds_of(text: str, flag: str) -> float:
    """A duration that was typed after `flag`. Raises InvalidRequest."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidRequest(f"{flag}: {error}") from None


def since(text: str | None) -> float | None:
    """The time that lies `text` (10m) back, in seconds since the epoch."""
    return None if text is None else time.time() - seconds_of(text, "--since")
