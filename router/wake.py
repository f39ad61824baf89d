"""Waking services that requests wait for: one write and one ring for however many requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from stoker.clock import Clock
from stoker.errors import NotFound, Refused, StoreUnavailable
from stoker.store.store import Store

log = logging.getLogger(__name__)

STORE_PAUSE_SECONDS = 0.5


class Waker:
    """`wake` notes a service's name, at most once each; the loop in `run` tells the store and rings the scheduler."""

    def __init__(self, store: Store, ring: Callable[[str], Awaitable[None]], clock: Clock) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock
        self._names: set[str] = set()
        self._wanted = asyncio.Event()

    def wake(self, name: str) -> None:
        self._names.add(name)
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled. With the store away the names stay and are tried again."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for name in sorted(self._names):
                if not await self._tell(name):
                    await self._clock.sleep(STORE_PAUSE_SECONDS)
                    self._wanted.set()
                    break
                self._names.discard(name)

    async def _tell(self, name: str) -> bool:
        try:
            await self._store.services.wake(name)
            await self._ring(name)
        except (NotFound, Refused):
            log.info("%s is gone; nothing to wake", name)
        except StoreUnavailable as error:
            log.warning("%s cannot be woken now: %s", name, error)
            return False
        return True
