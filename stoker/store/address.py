"""Where the embedded store listens: the same answer in every process of this machine, from the data directory alone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import quote

SOCKET_PATH_LIMIT = 100
"""The kernel takes 107 bytes (macOS 103) for the path of a unix socket; the rest is margin."""


def embedded_socket(data_dir: Path) -> Path:
    """`DATA/store/redis.sock`; where that path is too long for a socket, a short one made from its hash.

    The short one is `/run/stoker-HASH/redis.sock` for root (nobody else may write there) and `/tmp/stoker-UID-HASH/redis.sock`
    for others; the server makes that directory with mode 0700 and refuses one that belongs to somebody else.
    """
    socket = data_dir.absolute() / "store" / "redis.sock"
    if len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT:
        return socket
    short = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
    if os.geteuid() == 0 and Path("/run").is_dir():
        return Path(f"/run/stoker-{short}/redis.sock")
    return Path(f"/tmp/stoker-{os.geteuid()}-{short}/redis.sock")  # noqa: S108


def embedded_url(data_dir: Path) -> str:
    """The same as a URL; whatever a path may hold (spaces, `?`, `%`) is quoted."""
    return "unix://" + quote(os.fsencode(embedded_socket(data_dir)))
