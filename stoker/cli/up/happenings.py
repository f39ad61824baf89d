"""What happens in the cluster, told to the terminal in which `up` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stoker.cli.up.caller import Caller
from stoker.clock import Clock

_POLL_SECONDS = 1.0
_REMEMBERED = 1_000


async def follow(caller: Caller, clock: Clock, tell: Callable[[str], None]) -> None:
    """Until cancelled: each event from now on, once. A router that is away is asked again."""
    since = clock.now()
    told: dict[tuple[str, ...], None] = {}
    while True:
        await clock.sleep(_POLL_SECONDS)
        for event in await caller.items(f"/admin/events?since={since:.3f}") or ():
            key = _key(event)
            if key not in told:
                told[key] = None
                tell(f"{event['object']} {event['reason']}: {event['message']}")
        while len(told) > _REMEMBERED:
            del told[next(iter(told))]
        since = max(since, clock.now() - 60.0)


def _key(event: dict[str, Any]) -> tuple[str, ...]:
    return (event["time"], event["object"], event["reason"], event["message"])
