"""arq as a doorbell: it carries "look at this", never the truth.

Whoever makes a change rings; the leading scheduler's arq worker answers by looking at everything. arq polls every half
second, so a ring also publishes on a channel that cuts the wait short. A lost ring costs one scheduler tick.

One ring on its way is enough: a ring sets a mark, rings that find it set do nothing, and whoever answers clears it before
looking. A change made before a silent ring was made before the mark was cleared, so the look sees it. The mark expires
(a ringer may die between mark and ring) and the queue has a limit, so that nothing grows while no scheduler runs.

Jobs are JSON (arq pickles by default, which would let whoever writes Redis run code). Their ids carry the cluster's id,
for arq's keys are the same for all clusters of one Redis, and are never used twice: arq drops a second job of an id that
is queued, running or kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from arq import ArqRedis
from arq.constants import in_progress_key_prefix
from arq.worker import Retry, Worker, func

from stoker.errors import StoreUnavailable
from stoker.store.store import Store

log = logging.getLogger(__name__)

SCHEDULER, RUNNERS = "scheduler", "jobs"
"""Who answers: each has a queue, a mark and a channel of its own. Of schedulers only the leader does, of runners every one may."""

FUNCTION = "plan"
POLL_SECONDS = 1.0
QUEUE_LIMIT = 100
"""Rings kept for a scheduler that does not run; every one of them makes it look at everything."""

MARK_MS = 5_000
_AT_ONCE = 10
_READ_LIMIT = 5_000
_EXPIRES_MS = 86_400_000
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)


def _serialize(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=str).encode()


def _client(store: Store, purpose: str) -> ArqRedis:
    return ArqRedis(
        connection_pool=store.database.client.connection_pool,
        job_serializer=_serialize,
        job_deserializer=json.loads,
        default_queue_name=store.database.keys.queue(purpose),
        expires_extra_ms=_EXPIRES_MS,
    )


class Doorbell:
    """Rings the scheduler of one cluster, or with another `purpose` those who answer that bell."""

    def __init__(self, store: Store, purpose: str = SCHEDULER) -> None:
        self._store = store
        self._keys = store.database.keys
        self._purpose = purpose
        self._redis = _client(store, purpose)

    async def ring(self, about: str) -> None:
        """Tell them that `about` (a service's name) changed. Raises StoreUnavailable."""
        keys = [self._keys.dirty(self._purpose), self._keys.queue(self._purpose)]
        if await self._store.database.script("ring", keys, [MARK_MS, QUEUE_LIMIT]):
            await self._store.database.ask(lambda: self._redis.enqueue_job(FUNCTION, about, _job_id=self._new_id()))
            await self.call(about)

    async def call(self, word: str) -> None:
        """A word to those who listen now; nothing is kept of it. Raises StoreUnavailable."""
        await self._store.database.ask(lambda: self._redis.publish(self._keys.bell(self._purpose), word))

    def _new_id(self) -> str:
        return f"{self._keys.cluster}-{secrets.token_hex(12)}"


class BellWorker(Worker):
    """An arq worker that polls when the channel rings, and every POLL_SECONDS without. Of schedulers only the leader runs it.

    `heard` is called at once with every word on the channel, before arq has found the ring; it must not block.

    Overrides arq's `main`, which is the loop of `_poll_iteration`, and `close`, which would close the store's own
    connections; tests/stoker/test_doorbell.py holds arq to what this relies on.
    """

    def __init__(
        self,
        store: Store,
        answer: Callable[[str], Awaitable[None]],
        purpose: str = SCHEDULER,
        heard: Callable[[str], None] = lambda word: None,
    ) -> None:
        keys = store.database.keys

        async def plan(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:
            try:
                await store.database.ask(lambda: store.database.client.delete(keys.dirty(purpose)))
                await answer(*args)
            except StoreUnavailable as error:
                raise Retry(defer=0.2) from error

        self._channel, self._heard = keys.bell(purpose), heard
        self._ask = store.database.ask
        super().__init__(
            functions=[func(plan, name=FUNCTION, keep_result=0, max_tries=50)],
            redis_pool=_client(store, purpose),
            queue_name=keys.queue(purpose),
            job_serializer=_serialize,
            job_deserializer=json.loads,
            handle_signals=False,
            max_jobs=_AT_ONCE,
            queue_read_limit=_READ_LIMIT,
            poll_delay=POLL_SECONDS,
            job_timeout=30,
            health_check_key=keys.queue(purpose) + ":health",
            log_results=False,
        )

    async def main(self) -> None:
        """Answer rings until cancelled. While the store is away it tries again, so it never ends by itself."""
        failures = 0
        try:
            while True:
                try:
                    await self._ask(self._free)
                    failures = 0
                    await self._listen()
                except StoreUnavailable as error:
                    log.warning("the doorbell cannot be heard; trying again: %s", error.__cause__ or error)
                    await self.close()
                    await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)] * random.uniform(0.7, 1.3))
                    failures += 1
        finally:
            await self.close()

    async def close(self) -> None:
        """End what runs; what was not answered stays queued for the next leader. The store stays open."""
        running = list(self.tasks.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self.tasks.clear()
        # arq counts a job before it asks the store for it, and forgets to count back when that fails: it would end deaf.
        self.job_counter = 0
        self.sem = asyncio.BoundedSemaphore(self.max_jobs + 1)

    async def finish_job(self, *args: Any, **kwargs: Any) -> None:
        """Tick a job off. Where the store is away by now it stays queued and is answered once more, which does no harm."""
        with contextlib.suppress(StoreUnavailable):
            await self._ask(lambda: super(BellWorker, self).finish_job(*args, **kwargs))

    async def _listen(self) -> None:
        async with self.pool.pubsub() as channel:
            await self._ask(lambda: channel.subscribe(self._channel))
            while True:
                await self._ask(self._poll_iteration)
                message = await self._ask(lambda: channel.get_message(timeout=POLL_SECONDS))
                while message is not None:
                    if message["type"] == "message":
                        self._heard(message["data"].decode())
                    message = await self._ask(lambda: channel.get_message(timeout=0))

    async def _free(self) -> None:
        """Take over what a worker that was killed, or cut off, had begun; arq would wait job_timeout + 10 seconds."""
        ids = await self.pool.zrange(self.queue_name, 0, _READ_LIMIT)
        if ids:
            await self.pool.delete(*(in_progress_key_prefix + id.decode() for id in ids))
