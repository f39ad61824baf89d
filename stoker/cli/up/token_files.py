"""The secrets of a data directory: the admin's token and the cluster's key, made at the first start, mode 0600."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.data_dir import DataDir
from stoker.keyring import read_key
from stoker.tokens import ADMIN, mint


def prepare(data: DataDir, admin_token: str | None, key_file: Path) -> None:
    """Make what is missing; an admin token that the settings give replaces the file's. Raises OSError, ConfigurationError."""
    data.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if admin_token is not None:
        if read(data.admin_token) != admin_token:
            write(data.admin_token, admin_token)
    elif read(data.admin_token) is None:
        write(data.admin_token, mint(ADMIN).token)
    read_key(key_file, create=True)


def read(path: Path) -> str | None:
    """The token in a file; None where there is none."""
    try:
        return path.read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None


def write(path: Path, text: str) -> None:
    """All or nothing, readable by the owner alone."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
