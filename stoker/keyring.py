"""Keys that are derived, never stored: one per session and one per worker, from the cluster's key file."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from stoker.errors import ConfigurationError

_BYTES = 32


def read_key(path: Path, *, create: bool) -> bytes:
    """The cluster's key; made with mode 0600 where `create` and absent. Raises ConfigurationError."""
    try:
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_bytes(b"")
            fresh.chmod(0o600)
            fresh.write_text(secrets.token_hex(_BYTES))
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"the cluster's key {path} cannot be read: {error.strerror}") from error
    if len(key) < _BYTES:
        raise ConfigurationError(f"the cluster's key {path} is too short: {_BYTES} bytes at least")
    return key


def session_key(cluster_key: bytes, session: str) -> str:
    """What an engine asks for, where it can: known to the router and to that one session."""
    return "sk-session-" + _derive(cluster_key, "session", session)


def worker_key(cluster_key: bytes, node: str) -> str:
    """The bearer of a worker's own HTTP (logs)."""
    return _derive(cluster_key, "worker", node)


def _derive(key: bytes, purpose: str, id: str) -> str:
    return hmac.new(key, f"{purpose}:{id}".encode(), hashlib.sha256).hexdigest()
