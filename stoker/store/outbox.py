"""Webhooks that are to be sent: put in by the very write that ends a job, taken by any runner, tried until done or given up."""

from __future__ import annotations

from typing import NamedTuple

from stoker.store.database import Database
from stoker.store.job_keys import JobKeys

HOLD_SECONDS = 30
"""How long whoever took a webhook has for it before another one may; far above what one try takes."""


class Letter(NamedTuple):
    """A job whose webhook is due, and which try this is, from 1."""

    job: str
    attempt: int


class Outbox:
    """All raise StoreUnavailable."""

    def __init__(self, database: Database, keys: JobKeys) -> None:
        self._db = database
        self._keys = keys

    async def take(self, limit: int) -> list[Letter]:
        """Those that are due, for the caller alone for HOLD_SECONDS."""
        keys = [self._keys.outbox(), self._keys.webhook_tries()]
        found = await self._db.script("job_webhooks", keys, [HOLD_SECONDS, limit])
        return [Letter(id.decode(), int(number)) for id, number in zip(found[::2], found[1::2], strict=True)]

    async def done(self, id: str) -> None:
        """Delivered, or given up."""
        pipe = self._db.client.pipeline(transaction=True)
        pipe.zrem(self._keys.outbox(), id)
        pipe.hdel(self._keys.webhook_tries(), id)
        await self._db.ask(pipe.execute)

    async def again(self, id: str, pause: float, *, uncounted: bool = False) -> None:
        """Try once more, in `pause` seconds; `uncounted`: this was no try."""
        now = await self._db.time()
        pipe = self._db.client.pipeline(transaction=True)
        pipe.zadd(self._keys.outbox(), {id: now + pause}, xx=True)
        if uncounted:
            pipe.hincrby(self._keys.webhook_tries(), id, -1)
        await self._db.ask(pipe.execute)
