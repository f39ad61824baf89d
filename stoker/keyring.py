"""Keys that are derived, never stored, from the cluster's key file: per session, per worker, for runners, for webhooks."""

from __future__ import annotations

import base64
import contextlib
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
            _create(path)
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"the cluster's key {path} cannot be read: {error.strerror}") from error
    if len(key) < _BYTES:
        raise ConfigurationError(f"the cluster's key {path} is too short: {_BYTES} bytes at least")
    return key


def _create(path: Path) -> None:
    """Written whole and on the disk before it has its name; of several makers at once, the first wins."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()


def session_key(cluster_key: bytes, session: str) -> str:
    """What an engine asks for, where it can: known to the router and to that one session."""
    return "sk-session-" + _derive(cluster_key, "session", session)


def worker_key(cluster_key: bytes, node: str) -> str:
    """The bearer of a worker's own HTTP (logs)."""
    return _derive(cluster_key, "worker", node)


def runner_key(cluster_key: bytes) -> str:
    """What runners of jobs show to routers; good for inference alone."""
    return "sk-runner-" + _derive(cluster_key, "runner", "jobs")


def webhook_secret(cluster_key: bytes, project: str) -> str:
    """The project's secret for the signatures of webhooks: `whsec_` and 32 bytes in base64 (Standard Webhooks)."""
    digest = hmac.new(cluster_key, f"webhook:{project}".encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(digest).decode()


def _derive(key: bytes, purpose: str, id: str) -> str:
    return hmac.new(key, f"{purpose}:{id}".encode(), hashlib.sha256).hexdigest()
