"""Processes that a session left behind when its supervisor was killed: found by what they are, never by a bare pid.

A process belongs to a session if, in this boot,
1. it is in the session's cgroup, or
2. its environment carries the session's own directory, which no other session has, or
3. it is in the unix session that the supervisor led, and that pid has not been given to anybody else since.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from worker.runtimes.supervisor_files import start_time, stat_fields

MARK = "STOKER_SESSION_DIR"
"""Variable in every engine's environment: the session's directory."""


def find(folder: Path, supervisor: int, supervisor_start: int, cgroups: Iterable[Path]) -> dict[int, int]:
    """Pid and start time of each."""
    if sys.platform != "linux":
        return {}
    members = {pid for cgroup in cgroups for pid in _members(cgroup)}
    mark = f"{MARK}={folder}".encode()
    led_by = supervisor if start_time(supervisor) in (0, supervisor_start) else -1
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        fields = stat_fields(int(name))
        if len(fields) <= 19 or fields[0] in (b"Z", b"X"):
            continue
        since = int(fields[19])
        ours = int(name) in members or _carries(int(name), mark) or (int(fields[3]) == led_by and since >= supervisor_start)
        if ours:
            found[int(name)] = since
    return found


def kill(pid: int, start: int) -> None:
    """SIGKILL to that very process; nothing if it is gone and the pid is another's by now."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_time(pid) == start:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(fd)


def _members(cgroup: Path) -> set[int]:
    try:
        return {int(line) for line in (cgroup / "cgroup.procs").read_text().split()}
    except (OSError, ValueError):
        return set()


def _carries(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read(1 << 20).split(b"\0")
    except OSError:
        return False
