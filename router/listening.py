"""The socket of this router, bound before anything else is told about it, and the file that says which port it is."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from stoker.errors import ConfigurationError

READY_FILE = "STOKER_READY_FILE"
"""Names the file for `{"port": N, "pid": P}`, written once this router listens."""

LISTEN = "STOKER_LISTEN_FD"
"""Names the inherited descriptor of a socket that listens already (router/processes.py)."""

_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket on `host` (a name or an address) and `port` (0: a free one). Raises ConfigurationError."""
    inherited = os.environ.pop(LISTEN, None)
    if inherited is not None:
        shared = socket.socket(fileno=int(inherited))
        shared.set_inheritable(False)
        shared.setblocking(False)
        return shared
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # asyncio sets TCP_NODELAY only on sockets whose protocol is TCP by name: without it keep-alive answers take 40 ms
        found = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}: {error.strerror or error}") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.bind(address)
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror}; use another --port, or end who has it") from error
    found.setblocking(False)
    return found


def announce(port: int) -> None:
    """Write the file that whoever started us waits for; it is never seen half-written."""
    name = os.environ.get(READY_FILE)
    if name:
        fresh = Path(f"{name}.{os.getpid()}")
        fresh.write_text(json.dumps({"port": port, "pid": os.getpid()}))
        fresh.replace(name)
