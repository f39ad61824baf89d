"""What a supervisor leaves on disk for whichever worker comes next, and what it reads of /proc. Standard library only."""

from __future__ import annotations

import errno
import os
import sys

_RESERVED = 4096


def reserve(folder: str) -> str:
    """Path of a file with room for exit.json, so that a disk that is full by then does not swallow how the session ended."""
    path = os.path.join(folder, ".exit.json.part")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        _write(fd, b"\0" * _RESERVED)
    finally:
        os.close(fd)
    return path


def write_json(folder: str, name: str, values: dict[str, object], *, sync: bool, part: str = "") -> None:
    """Flat values, written whole or not at all, by way of the file `part`; on the disk when it returns if `sync`."""
    text = "{" + ", ".join(f'"{key}": {_value(value)}' for key, value in values.items()) + "}\n"
    path = part or os.path.join(folder, f".{name}.part")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        _write(fd, text.encode())
        os.ftruncate(fd, len(text.encode()))
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(path, os.path.join(folder, name))
    if sync:
        directory = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(directory)
        os.close(directory)


def _write(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _value(value: object) -> str:
    """JSON of a number, a flag, None or short text. (The json module would cost memory in every session.)"""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return '"' + "".join(c if c >= " " and c not in '"\\' else "?" for c in str(value)[:2000]) + '"'


def boot_id() -> str:
    """The same until the machine boots anew; empty where the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def stat_fields(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on: [1] parent, [2] group, [3] session, [19] start; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def start_time(pid: int) -> int:
    """Clock ticks after boot at which the process started: with boot id and pid, its identity. 0 where nobody knows."""
    fields = stat_fields(pid)
    return int(fields[19]) if len(fields) > 19 else 0


def descendants(*roots: int) -> list[int]:
    """Pids of all processes below `roots`, children before grandchildren."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        fields = stat_fields(int(name)) if name.isdigit() else []
        if len(fields) > 1:
            parents[int(name)] = int(fields[1])
    found: list[int] = []
    frontier = set(roots)
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found += sorted(frontier)
    return found
