"""A task that waits for the store ends when it is cancelled, whatever moment it is cancelled at."""

from __future__ import annotations

import asyncio

from stoker.records import TokenRecord
from stoker.store.store import Store


async def test_a_follower_that_is_cancelled_ends_at_once(store: Store) -> None:
    """redis-py with `socket_timeout` on Python 3.11 lost one cancellation in five here."""
    for n in range(150):
        mirror = store.mirror("token")
        await mirror.open()
        task = asyncio.create_task(mirror.follow())
        await store.tokens.put(TokenRecord(id=f"t{n}", hash="h"))
        while f"t{n}" not in mirror.tokens:
            await mirror.changed(1)
        for _ in range(n % 15):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=3)
        assert done and task.cancelled(), n
