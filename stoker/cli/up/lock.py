"""One `up` per data directory: a lock that the kernel takes back when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from stoker.errors import ConfigurationError


def hold(path: Path) -> int:
    """Take the lock and write our pid into it; the descriptor keeps it. Raises ConfigurationError when it is held, OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _pid(fd)
        os.close(fd)
        who = f" (pid {holder})" if holder else ""
        raise ConfigurationError(
            f"the data directory {path.parent} is already in use by another up{who};"
            " stop it with `stoker down`, or choose another with --data-dir"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def holder(path: Path) -> int | None:
    """The pid of the `up` that holds the lock (0 where it has not said yet), None where nobody does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        return _pid(fd) or 0
    finally:
        os.close(fd)


def _pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0)
    return int(text) if text.isdigit() else None
