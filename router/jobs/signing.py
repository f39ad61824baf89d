"""Standard Webhooks: how a delivery is signed so that the receiver can trust it (standardwebhooks.com, version 1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"


def new_secret() -> str:
    """A project's secret, shown to its deployers: `whsec_` and 24 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def headers(secret: str, id: str, now: float, body: bytes) -> dict[str, str]:
    """The three headers of one delivery. `id` stays the same over retries, `now` (seconds) is the time of this try."""
    stamp = str(int(now))
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.new(key, b".".join((id.encode(), stamp.encode(), body)), hashlib.sha256).digest()
    return {"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": "v1," + base64.b64encode(digest).decode()}
