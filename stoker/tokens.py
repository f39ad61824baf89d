"""Bearer tokens: how they look, how they are made, what is kept of them."""

from __future__ import annotations

import hashlib
import secrets
from typing import NamedTuple

ADMIN = "admin"
"""Id of the record of the cluster's own admin token; it is hidden from listings."""

ROLES = ("admin", "deployer", "viewer", "user")
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class Minted(NamedTuple):
    """A new token: its id, the text to hand out once, and the hash to keep."""

    id: str
    token: str
    hash: str


def mint(id: str | None = None) -> Minted:
    """`sk-<id>-<secret>` with 256 random bits; the id has no dash in it."""
    id = id or "".join(secrets.choice(_ALPHABET) for _ in range(10))
    token = f"sk-{id}-{secrets.token_hex(32)}"
    return Minted(id, token, hash_of(token))


def hash_of(token: str) -> str:
    """SHA-256 of the whole token, in hex: all that the store ever sees. (256 random bits need no slow hash.)"""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def id_of(token: str) -> str | None:
    """The id in a token of our own making; None for other texts, such as an admin token that somebody chose."""
    prefix, _, rest = token.partition("-")
    id, dash, secret = rest.partition("-")
    return id if prefix == "sk" and id and dash and secret else None
