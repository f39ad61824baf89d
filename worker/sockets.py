"""Who listens on a port of this machine, as the kernel tells it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from typing import NamedTuple

_LISTEN = "0A"


def can_tell() -> bool:
    """Whether this system says who listens where."""
    return sys.platform == "linux"


def can_bind(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return not listeners(port)


def listeners(port: int) -> set[int]:
    """Inodes of the sockets that listen on that port, on any address; empty where /proc is not."""
    wanted, found = f":{port:04X}", set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6") if sys.platform == "linux" else ():
        try:
            with open(table) as file:
                for line in file:
                    if wanted in line:
                        fields = line.split()
                        if fields[1].endswith(wanted) and fields[3] == _LISTEN:
                            found.add(int(fields[9]))
        except OSError:
            continue
    return found


class Listener(NamedTuple):
    """A socket that a process has open: `path` below /proc, and what it leads to."""

    path: str
    name: str

    def still(self) -> bool:
        """Whether it is still open, at the cost of one system call."""
        try:
            return os.readlink(self.path) == self.name
        except OSError:
            return False


def owner(inodes: set[int], pids: Iterable[int]) -> Listener | None:
    """One of these sockets that one of these processes has open."""
    names = {f"socket:[{inode}]" for inode in inodes}
    found = (file for pid in pids for file in _open_files(pid) if file.name in names) if names else ()
    return next(iter(found), None)


def _open_files(pid: int) -> Iterable[Listener]:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                yield Listener(f"/proc/{pid}/fd/{fd}", os.readlink(f"/proc/{pid}/fd/{fd}"))
            except OSError:
                continue
    except OSError:
        return
