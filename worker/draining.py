"""Waiting until a draining session may be stopped."""

from __future__ import annotations

from collections.abc import Callable

from stoker.errors import StoreUnavailable
from worker.node import Node

_PAUSES = (0.05, 0.1, 0.2, 0.5)


async def drained(node: Node, session: str, until: Callable[[], float | None]) -> None:
    """Until every live router has no request left on it, or the store's time is `until()` (None: at once).

    While the store is away nobody can say that it is empty, so only the time counts, by our own estimate.
    """
    tries = 0
    while (end := until()) is not None and node.store_now() < end:
        try:
            if await node.store.routers.drained(session):
                return
        except StoreUnavailable:
            tries = len(_PAUSES)
        await node.clock.sleep(min(_PAUSES[min(tries, len(_PAUSES) - 1)], max(0.0, end - node.store_now())))
        tries += 1
