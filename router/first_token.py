"""The cluster's own admin token: with it everything else is made. The store keeps its hash, a file of the owner's the text."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from stoker.data_dir import DataDir
from stoker.errors import ConfigurationError
from stoker.records import TokenRecord
from stoker.settings import Settings
from stoker.store.store import Store
from stoker.tokens import ADMIN, hash_of, mint


async def ensure_admin(store: Store, settings: Settings) -> None:
    """See that the store knows an admin token. Raises ConfigurationError (the file), StoreUnavailable.

    1. STOKER_ADMIN_TOKEN is it, where it is set.
    2. Under `stoker up` it is the one in DATA/admin-token, made if it is missing.
    3. A router on its own makes that file only for a store that knows none yet.
    """
    known = await store.tokens.get(ADMIN)
    if settings.admin_token is not None:  # (1)
        token = settings.admin_token.get_secret_value().strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigurationError("STOKER_ADMIN_TOKEN is empty or has characters that no HTTP header can carry")
    elif settings.local_admin or known is None:  # (2), (3)
        token = _token_in(DataDir(settings.data_dir).admin_token)
    else:
        return
    if known is None or known.hash != hash_of(token):
        now = await store.time()
        await store.tokens.put(TokenRecord(id=ADMIN, hash=hash_of(token), name=ADMIN, role="admin", created_at=now, hidden=True))


def _token_in(path: Path) -> str:
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path, mint(ADMIN).token)
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the admin token {path} cannot be read or made: {error}") from error
    if not token:
        raise ConfigurationError(f"the admin token {path} is empty; remove the file, and a new one is made")
    return token


def _create(path: Path, token: str) -> None:
    """Written whole before it has its name; of several makers at once, the first wins."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
