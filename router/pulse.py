"""What the store knows and no feed tells: who leads, when each node last beat, and how far its clock is from ours."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.clock import Clock
from stoker.errors import StoreUnavailable
from stoker.store.store import Store

EVERY_SECONDS = 1.0


class Pulse:
    """Asked once a second in `run`; while the store is away the last answers stay, and `looked_at` says from when they are."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ahead = 0.0
        self.looked_at = 0.0
        self.leader: str | None = None
        self.seen: Mapping[str, float] = {}

    def now(self) -> float:
        """The store's time in seconds, as far as known."""
        return self._clock.now() + self._ahead

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except StoreUnavailable:
                self.leader = None
            await self._clock.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Ask now. Raises StoreUnavailable."""
        self.seen = await self._store.nodes.seen()
        self.leader = await self._store.leadership.leader()
        self.looked_at = await self._store.time()
        self._ahead = self.looked_at - self._clock.now()
