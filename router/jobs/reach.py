"""Which webhooks this platform calls: names are resolved here, router.jobs.targets judges."""

from __future__ import annotations

import asyncio
import socket

from router.jobs.targets import Allowed, Target, judge, parse, parse_allowed
from router.peer import is_loopback
from stoker.errors import WebhookRefused
from stoker.settings import Settings

RESOLVE_SECONDS = 2.0
_LOOPBACK = ("127.0.0.0/8", "::1/128", "localhost")


def allowed(settings: Settings) -> Allowed:
    """STOKER_WEBHOOK_ALLOW, and loopback for a platform that only this machine reaches."""
    local = _LOOPBACK if settings.local_admin and is_loopback(settings.host) else ()
    return parse_allowed((*settings.webhook_allow, *local))


async def refuse_webhook(url: str, settings: Settings) -> None:
    """Raises WebhookRefused for what no runner would call. A name that nobody knows now is asked for again when it is called."""
    target = parse(url)
    try:
        addresses = await resolve(target)
    except (OSError, TimeoutError):
        return
    judge(target, addresses, allowed(settings))


async def resolve(target: Target) -> list[str]:
    """Its addresses. Raises OSError, TimeoutError; WebhookRefused for a name that no name can be."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise WebhookRefused(f"the webhook's host {target.host} is no name", param="webhook") from None
    return list(dict.fromkeys(str(row[4][0]) for row in found))
