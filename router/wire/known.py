"""Heads that came before: a kept connection brings the same one again and again, but for the digits of its Content-Length.

What was parsed and decided from those bytes holds for the same bytes, so they are compared instead of parsed. Only a read that
is exactly one such head and the whole of its body counts; anything else takes the parser's way. The parser stands between two
messages meanwhile and notices nothing.
"""

from __future__ import annotations

import re

HEAD_LIMIT = 4_096
"""Bytes of a head that is worth remembering."""

DIGITS = 8
PATIENCE = 8
"""So many heads in a row that nobody repeats, and only one in RARELY is remembered from then on."""

RARELY = 64

_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]{1,8})\r\n", re.IGNORECASE)


class KnownHead:
    """The bytes before the digits, and those behind them up to the end of the head."""

    __slots__ = ("_after", "_before", "_start")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self._start = len(before)

    def body_at(self, data: bytes) -> int:
        """Where the body begins if `data` is this head and exactly its body, else -1."""
        if not data.startswith(self._before):
            return -1
        start = self._start
        end = data.find(b"\r", start, start + DIGITS + 1)
        if end < 0 or not data.startswith(self._after, end):
            return -1
        digits = data[start:end]
        at = end + len(self._after)
        return at if digits.isdigit() and len(data) - at == int(digits) else -1


def learn(data: bytes, length: int, headers: list[tuple[bytes, bytes]]) -> KnownHead | None:
    """From a read that was parsed into one message with these fields and a body of `length` bytes. None where its lines could be
    read in two ways: folded or bare ones, more than one length, a coding."""
    end = data.find(b"\r\n\r\n") + 4
    if not 4 < end <= HEAD_LIMIT or len(data) - end != length:
        return None
    head, lines = data[:end], len(headers) + 2
    if head.count(b"\r\n") != lines or head.count(b"\n") != lines or head.count(b"\r") != lines:
        return None
    if sum(name == b"content-length" for name, _ in headers) != 1 or any(name == b"transfer-encoding" for name, _ in headers):
        return None
    found = _LENGTH.search(head)
    return KnownHead(head[: found.start(1)], head[found.end(1) :]) if found and int(found[1]) == length else None


class Memory:
    """One head at a time; `found` and `missed` say whether it was worth it."""

    __slots__ = ("_misses", "head")

    def __init__(self) -> None:
        self.head: KnownHead | None = None
        self._misses = 0

    def body_at(self, data: bytes) -> int:
        """As KnownHead.body_at; -1 where none is remembered."""
        head = self.head
        if head is None or (at := head.body_at(data)) < 0:
            return -1
        self._misses = 0
        return at

    def learn(self, data: bytes, length: int, headers: list[tuple[bytes, bytes]]) -> bool:
        """Remember this head instead, where that may pay; whether it did."""
        self._misses += 1
        if self._misses > PATIENCE and self._misses % RARELY:
            return False
        self.head = learn(data, length, headers)
        return self.head is not None
