"""arq as a doorbell: it carries "look at this", never the truth.

Whoever makes a change rings; the leading scheduler's arq worker answers by looking at everything. arq polls every half
second, so a ring also publishes on a channel that cuts the wait short. A lost ring costs one scheduler tick.
Jobs are JSON (arq pickles by default, which would let whoever writes Redis run code) and have no fixed id (arq drops a
second job of an id that is queued, running or kept).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from arq import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import ConnectionError, TimeoutError

from stoker.errors import StoreUnavailable
from stoker.store.store import Store

FUNCTION = "plan"
POLL_SECONDS = 1.0
_READ_LIMIT = 5_000
_EXPIRES_MS = 86_400_000


def _serialize(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=str).encode()


class Doorbell:
    """Rings the scheduler of one cluster."""

    def __init__(self, store: Store) -> None:
        self._keys = store.database.keys
        self._redis = ArqRedis(
            connection_pool=store.database.client.connection_pool,
            job_serializer=_serialize,
            job_deserializer=json.loads,
            default_queue_name=self._keys.queue(),
            expires_extra_ms=_EXPIRES_MS,
        )

    async def ring(self, about: str) -> None:
        """Tell the scheduler that `about` (a service's name) changed. Raises StoreUnavailable."""
        try:
            await self._redis.enqueue_job(FUNCTION, about)
            await self._redis.publish(self._keys.bell(), about)
        except (ConnectionError, TimeoutError, OSError) as error:
            raise StoreUnavailable(f"the store does not answer: {error}") from error


class BellWorker(Worker):
    """An arq worker that polls when the channel rings, and every POLL_SECONDS without.

    Overrides arq's `main`, which is the loop of `_poll_iteration`; tests/stoker/test_doorbell.py holds arq to that.
    """

    def __init__(self, store: Store, answer: Callable[[str], Awaitable[None]]) -> None:
        async def plan(_ctx: dict[Any, Any], *args: Any, **_: Any) -> None:
            await answer(*args)

        self._bell_keys = store.database.keys
        client = Doorbell(store)._redis
        super().__init__(
            functions=[func(plan, name=FUNCTION, keep_result=0, max_tries=50)],
            redis_pool=client,
            queue_name=self._bell_keys.queue(),
            job_serializer=_serialize,
            job_deserializer=json.loads,
            handle_signals=False,
            max_jobs=100,
            queue_read_limit=_READ_LIMIT,
            poll_delay=POLL_SECONDS,
            job_timeout=30,
            health_check_key=self._bell_keys.queue() + ":health",
            log_results=False,
        )

    async def main(self) -> None:
        """Poll on every ring. Raises redis' ConnectionError when the store goes; the caller comes back later."""
        await self._poll_iteration()
        async with self.pool.pubsub() as channel:
            await channel.subscribe(self._bell_keys.bell())
            while self.allow_pick_jobs:
                await self._poll_iteration()
                message = await channel.get_message(ignore_subscribe_messages=False, timeout=POLL_SECONDS)
                while message is not None:
                    message = await channel.get_message(ignore_subscribe_messages=False, timeout=0)
