"""The address of a service at the router that answers now, where the stored one led to a router that has moved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from stoker.cli.reach import Reach
from stoker.cli.settings_file import configured

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def reached_endpoint(reach: Reach, service: Mapping[str, Any]) -> str:
    """The stored endpoint, unless its origin was a router's own address and we talk to another: then the path at that one.

    An endpoint is fixed for its service's life; whatever listens at an old port must be told no token of ours.
    """
    stored = str(service["endpoint"])
    parts, here = urlsplit(stored), urlsplit(reach.url)
    if (parts.scheme, parts.netloc) == (here.scheme, here.netloc) or not parts.path.endswith(f"/services/{service['name']}"):
        return stored  # the very router, or a name of STOKER_DOMAIN
    return f"{reach.url}/services/{service['name']}" if _moved(reach, stored) else stored


def _moved(reach: Reach, stored: str) -> bool:
    if reach.is_local:
        public = os.environ.get("STOKER_PUBLIC_URL") or configured("public_url")
        return not (public and stored.startswith(str(public).rstrip("/")))
    host = urlsplit(stored).hostname
    return stored.startswith("http://") and (host == urlsplit(reach.url).hostname or host in _LOOPBACK)
