"""Logs of the platform's processes: DATA/logs/NAME.log, appended to by the process itself, so that they outlive `up`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LIMIT = 8 * 2**20
"""Bytes of one file before it becomes NAME.log.1; twice that is the most that is kept of a process."""

LAST = 4096


def open_log(path: Path) -> int:
    """A descriptor for a child's stdout and stderr. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def rotate(path: Path, limit: int = LIMIT) -> None:
    """Copy what is too long away and empty it: the writer appends, so it goes on at the start."""
    try:
        if path.stat().st_size <= limit:
            return
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)
    except OSError:
        return  # a full disk must not end the platform; the next round tries again


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def last_words(path: Path, since: int) -> str:
    """The last line that a process logged after byte `since`, without its time and logger; "" where it said nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(since, path.stat().st_size - LAST))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return _message(lines[-1]) if lines else ""


def _message(line: str) -> str:
    """`2026-01-01T00:00:00.000Z ERROR router text` is `text`; other lines are themselves."""
    words = line.split(" ", 3)
    return words[3] if len(words) == 4 and words[0].endswith("Z") and words[1].isupper() else line
