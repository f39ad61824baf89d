"""How many requests are answered at once, and who waits, in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from model_variants.demo_engine.requests import Refusal


class Gate:
    """`limit` 0 is none; at most `queue` wait, the next gets 503."""

    def __init__(self, limit: int, queue: int) -> None:
        self._limit = limit
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()  # bounded by `queue`
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Holds one of the places; waits for one where all are taken."""
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    async def _enter(self) -> None:
        if not self._limit or self.running < self._limit:
            self.running += 1
            return
        if len(self._waiting) >= self._queue:
            raise Refusal(
                f"{self.running} requests run and {len(self._waiting)} wait, which is all that may", status=503, code="queue_full"
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            else:
                self._waiting.remove(turn)
            raise

    def _leave(self) -> None:
        """The place goes straight to whoever waits longest, so that nobody slips in between."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
