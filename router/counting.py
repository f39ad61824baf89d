"""What this router has counted goes to the store, where the counts of all routers, past ones too, are one sum.

A portion has a number and stays the same until the store has said that it has it, and the store adds each number once: neither a
lost answer nor a second try counts twice. A router that is killed takes the counts of its last two seconds along.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from itertools import count, islice

from router.directory import Directory
from router.heartbeat import Heartbeat
from router.metrics import Metrics
from stoker.clock import Clock
from stoker.errors import StoreUnavailable
from stoker.records import Load
from stoker.store.store import Store

log = logging.getLogger(__name__)

EVERY_SECONDS = 2.0
PORTION = 100
"""Services in one call of the store."""


class Counting:
    """Nothing is sent while nothing was counted."""

    def __init__(self, store: Store, metrics: Metrics, directory: Directory, heartbeat: Heartbeat, clock: Clock) -> None:
        self._store = store
        self._metrics = metrics
        self._directory = directory
        self._heartbeat = heartbeat
        self._clock = clock
        self._numbers = count(1)
        self._portions: deque[tuple[int, dict[str, dict[str, int]]]] = deque()  # bounded: filled only when it is empty
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled; what is left then is sent, if the store takes it within a second."""
        try:
            while True:
                await self._clock.sleep(EVERY_SECONDS)
                await self.flush()
        finally:
            try:
                await asyncio.shield(asyncio.wait_for(self.flush(), 1.0))
            except TimeoutError:
                log.info("the store does not answer; what was counted last is lost")

    async def flush(self) -> bool:
        """Send everything counted so far; whether the store has it all."""
        async with self._sending:
            if not await self._send():
                return False
            self._portion()
            return await self._send()

    def unsent(self) -> dict[str, dict[str, int]]:
        """What the store may not have yet."""
        found = self._metrics.new()
        for _, portion in self._portions:
            for service, fields in portion.items():
                of = found.setdefault(service, {})
                for name, amount in fields.items():
                    of[name] = of.get(name, 0) + amount
        return found

    def loads(self) -> tuple[str, Mapping[str, Load]]:
        """This router's id, and its load now."""
        return self._heartbeat.router, self._heartbeat.loads()

    def _portion(self) -> None:
        taken = iter(self._metrics.take(self._directory.services).items())
        while part := dict(islice(taken, PORTION)):
            self._portions.append((next(self._numbers), part))

    async def _send(self) -> bool:
        while self._portions:
            number, counts = self._portions[0]
            try:
                await self._store.figures.add(self._heartbeat.router, number, counts)
            except StoreUnavailable:
                return False
            self._portions.popleft()
        return True
