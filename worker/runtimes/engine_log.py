"""An engine's output as lines with the time before them, in files of bounded size. Standard library only."""

from __future__ import annotations

import os
import time

LINE_LIMIT = 16 * 1024
"""Bytes of one line; a longer one is broken."""

_LEAST = 4 * 1024


class EngineLog:
    """Files at `path`, `path.1`, …: rotated at `limit` bytes, `kept` files in all. Never raises for a full disk:
    `lost` counts the lines since the last one that could be written, and the log says so when it can again.
    """

    def __init__(self, path: str, limit: int, kept: int) -> None:
        self._path, self._limit, self._kept = path, max(limit, _LEAST), max(kept, 1)
        self._fd, self._size = -1, 0
        self._partial = b""
        self.lost = 0

    @property
    def waiting(self) -> bool:
        """Whether there is a line without an end yet."""
        return bool(self._partial)

    def feed(self, data: bytes) -> None:
        """Bytes as the engine wrote them; a carriage return ends a line too (progress bars)."""
        *lines, self._partial = (self._partial + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        whole, self._partial = _broken(self._partial)
        for line in lines:
            start, rest = _broken(line)
            self._write([*start, rest])
        self._write(whole)

    def flush(self) -> None:
        """Write what has no end of line yet."""
        partial, self._partial = self._partial, b""
        if partial:
            self._write([partial])

    def _write(self, lines: list[bytes]) -> None:
        stamp = _stamp() if lines else b""
        for line in lines:
            if self.lost and self._append(b"%s stoker: %d lines were lost: the log could not be written\n" % (stamp, self.lost)):
                self.lost = 0
            if self.lost or not self._append(b"%s %s\n" % (stamp, line)):
                self.lost += 1

    def _append(self, line: bytes) -> bool:
        try:
            if self._fd < 0 or self._size + len(line) > self._limit:
                self._open()
            written = os.write(self._fd, line)
            if written < len(line):  # the disk filled up in the middle of the line
                os.ftruncate(self._fd, self._size)
                return False
        except OSError:
            return False
        self._size += written
        return True

    def _open(self) -> None:
        """The current file, after moving it aside if it is full."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            for number in range(self._kept - 1, 0, -1):
                older = self._path if number == 1 else f"{self._path}.{number - 1}"
                if os.path.exists(older):
                    os.rename(older, f"{self._path}.{number}")
            if self._kept == 1:
                os.unlink(self._path)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._fd).st_size


def _broken(line: bytes) -> tuple[list[bytes], bytes]:
    """Pieces of exactly LINE_LIMIT bytes, and what is left."""
    whole = len(line) // LINE_LIMIT * LINE_LIMIT
    return [line[at : at + LINE_LIMIT] for at in range(0, whole, LINE_LIMIT)], line[whole:]


def _stamp() -> bytes:
    now = time.time()
    return b"%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)).encode(), int(now % 1 * 1000))
