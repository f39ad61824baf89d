"""Reading a session's log: its last lines, those since a time, and what comes. Always in bounded pieces."""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from stoker.telemetry import mask

MOST_LINES = 10_000
MOST_BYTES = 8 * 2**20
"""Of one answer; who wants more follows, or copies the files."""

_BLOCK = 64 * 1024
_POLL_SECONDS = 0.2
_STAMP_LENGTH = len("2026-01-01T00:00:00.000Z")


class Position(msgspec.Struct, frozen=True):
    """How far a log has been read: the file (by inode, 0 for none yet) and the byte in it."""

    inode: int = 0
    offset: int = 0


def tail(folder: Path, lines: int, since: float | None) -> tuple[list[bytes], Position]:
    """The last `lines` whole lines, of those written since that time; and where to go on. Bounded by MOST_LINES and MOST_BYTES."""
    wanted = min(max(lines, 0), MOST_LINES)
    earliest = _stamp(since) if since is not None else b""
    found: list[bytes] = []
    position, size = Position(), 0
    for number, path in enumerate(_files(folder)):
        try:
            with path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                if number == 0:
                    position = Position(os.fstat(file.fileno()).st_ino, _whole_lines(file.fileno(), end))
                for line in _backwards(file.fileno(), position.offset if number == 0 else end):
                    size += len(line)
                    if len(found) >= wanted or size > MOST_BYTES or line[:_STAMP_LENGTH] < earliest:
                        return found[::-1], position
                    found.append(line)
        except FileNotFoundError:
            continue  # rotated away meanwhile
    return found[::-1], position


async def follow(folder: Path, position: Position, over: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """Pieces of whole lines from `position` on, through rotations, until the session is over and all is read."""
    reader = _Follower(folder, position)
    try:
        while True:
            ended = over()
            piece = await asyncio.to_thread(reader.next)
            if piece:
                yield piece
            elif ended:
                return
            else:
                await asyncio.sleep(_POLL_SECONDS)
    finally:
        reader.close()


def last_words(folder: Path, lines: int = 12, characters: int = 1500) -> str:
    """The end of a log for a message: without times, secrets masked, bounded."""
    found, _ = tail(folder, lines, None)
    text = "\n".join(line[_STAMP_LENGTH + 1 :].decode(errors="replace").rstrip() for line in found)
    masked = mask(text)
    return masked if len(masked) <= characters else "…" + masked[-characters:]


class _Follower:
    """Holds the file it reads open, so that nothing is lost when that is moved aside or even deleted."""

    def __init__(self, folder: Path, position: Position) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        for path in _files(folder)[::-1] if position.inode else ():
            file = _opened(path)
            if file is not None and os.fstat(file.fileno()).st_ino == position.inode:
                self._file, self._offset = file, position.offset
                break
            if file is not None:
                file.close()

    def next(self) -> bytes:
        """Whole lines, at most a block; empty when there are none now."""
        while True:
            if self._file is None and not self._open_after(0):
                return b""
            assert self._file is not None
            inode = os.fstat(self._file.fileno()).st_ino
            moved = _inode(self._folder / "log") != inode  # asked before reading: afterwards nobody writes to it any more
            data = os.pread(self._file.fileno(), _BLOCK, self._offset)
            whole = data[: data.rfind(b"\n") + 1]
            self._offset += len(whole)
            if whole:
                return whole
            if not moved or not self._open_after(inode):
                return b""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open_after(self, inode: int) -> bool:
        """The file begun right after that one; the oldest there is if that one was deleted."""
        files = _files(self._folder)
        place = next((n for n, path in enumerate(files) if _inode(path) == inode), len(files))
        for path in files[:place][::-1]:
            file = _opened(path)
            if file is not None:
                self.close()
                self._file, self._offset = file, 0
                return True
        return False


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


def _files(folder: Path) -> list[Path]:
    """Newest first."""
    older = sorted((p for p in folder.glob("log.*") if p.suffix[1:].isdigit()), key=lambda p: int(p.suffix[1:]))
    return [folder / "log", *older]


def _whole_lines(fd: int, end: int) -> int:
    """Where the last whole line ends, looking back at most one block."""
    start = max(0, end - _BLOCK)
    return start + os.pread(fd, end - start, start).rfind(b"\n") + 1


def _backwards(fd: int, end: int) -> Iterator[bytes]:
    """Lines with their ends, the last one first."""
    rest = b""
    while end > 0:
        start = max(0, end - _BLOCK)
        first, *lines = (os.pread(fd, end - start, start) + rest).splitlines(keepends=True)
        yield from reversed(lines)
        rest, end = first, start
    if rest:
        yield rest


def _stamp(when: float) -> bytes:
    text = datetime.datetime.fromtimestamp(max(when, 0.0), datetime.UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").encode()
