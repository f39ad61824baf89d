"""Whether this process leads. The lease is renewed by a thread of its own, so that no planning, however long, delays it.

The lease counts as ended a margin before the store lets anybody else have it, by this machine's monotonic clock, from
before the question was sent. A process that was stopped meanwhile finds the deadline passed before its next write.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from stoker.clock import Clock
from stoker.errors import StoreUnavailable
from stoker.store.store import Store

log = logging.getLogger(__name__)

MARGIN = 0.25
"""Part of the lease that is left unused."""

RENEWALS = 4.0
"""Renewals per lease; a follower asks as often whether the lease is free."""

_STOP_SECONDS = 3.0


class Leader:
    """`start` once, then `stop` once; between them `epoch` says whether to act.

    Life of the thread: open a store of its own, claim again and again, resign when stopped. An unexpected error ends it and
    stands in `failure`; whoever waits for leadership raises it.
    """

    def __init__(self, holder: str, lease: float, open_store: Callable[[], Awaitable[Store]], clock: Clock) -> None:
        self.holder = holder
        self._lease = lease
        self._open_store = open_store
        self._clock = clock
        self._held: tuple[int, float] | None = None
        self._tell: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lease")
        self._life: Future[None] | None = None

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread; None while it runs, and after `stop`."""
        return self._life.exception() if self._life is not None and self._life.done() else None

    def epoch(self) -> int | None:
        """The number that all writes of this leader carry; None unless the lease is certain now. For any thread."""
        held = self._held
        return held[0] if held is not None and self._clock.monotonic() < held[1] else None

    def start(self, tell: Callable[[], None]) -> None:
        """`tell` is called in the thread when the lease was won or lost, and when the thread has failed; it must not block."""
        self._tell = tell
        self._life = self._thread.submit(lambda: asyncio.run(self._renew()))
        self._life.add_done_callback(lambda life: self._ended())

    def stop(self) -> None:
        """Give the lease back and end the thread. Blocks for a few seconds at most."""
        self._held, self._tell = None, lambda: None
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._life is not None:
            wait([self._life], _STOP_SECONDS)
        self._thread.shutdown(wait=False)

    def _ended(self) -> None:
        self._held = None
        self._tell()

    async def _renew(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        store: Store | None = None
        try:
            while not self._stopping.is_set():
                try:
                    store = store or await self._open_store()
                    await self._claim(store)
                except (StoreUnavailable, TimeoutError) as error:
                    log.warning("the lease could not be renewed: %s", error)
                await self._pause(self._stopping)
            if store is not None:
                await self._resign(store)
        finally:
            if store is not None:
                await store.close()

    async def _claim(self, store: Store) -> None:
        """While the store does not answer, what is held runs out by itself."""
        asked = self._clock.monotonic()
        async with asyncio.timeout(self._lease):
            lease = await store.leadership.claim(self.holder, self._lease)
        before = self._held[0] if self._held is not None else None
        self._held = (lease.epoch, asked + self._lease * (1 - MARGIN)) if lease.held else None
        if before != (lease.epoch if lease.held else None):
            self._tell()

    async def _resign(self, store: Store) -> None:
        try:
            async with asyncio.timeout(1):
                await store.leadership.resign(self.holder)
        except (StoreUnavailable, TimeoutError):
            log.info("the lease could not be given back; it runs out in %g s", self._lease)

    async def _pause(self, stopping: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._lease / RENEWALS * random.uniform(0.9, 1.0)):
                await stopping.wait()
        except TimeoutError:
            return
