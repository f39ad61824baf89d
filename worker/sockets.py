"""Who listens on a port of this machine, as the kernel tells it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable

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


def owned(inodes: set[int], pids: Iterable[int]) -> bool:
    """Whether one of these processes has one of these sockets open."""
    names = {f"socket:[{inode}]" for inode in inodes}
    return any(name in names for pid in pids for name in _open_files(pid))


def _open_files(pid: int) -> Iterable[str]:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                yield os.readlink(f"/proc/{pid}/fd/{fd}")
            except OSError:
                continue
    except OSError:
        return
