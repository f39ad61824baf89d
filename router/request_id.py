"""The id that every answer carries: the client's own if it is well-formed, else a fresh one."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

HEADER = b"x-request-id"
_WELL_FORMED = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """`headers` in ASGI's form (names in lower case); what is not well-formed is replaced, never passed on or logged."""
    for name, value in headers:
        if name == HEADER and _WELL_FORMED.fullmatch(value):
            return value.decode("ascii")
    return fresh_id()


def fresh_id() -> str:
    """An id is no secret, only unlike all others."""
    return f"req_{random.getrandbits(96):024x}"
