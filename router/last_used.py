"""When each token was last used: noted in memory by every request, told to the store now and then."""

from __future__ import annotations

from collections.abc import Mapping

from router.access import Access
from stoker.clock import Clock
from stoker.errors import NotFound, StoreUnavailable
from stoker.records import TokenRecord
from stoker.store.store import Store

EVERY_SECONDS = 30.0
PRECISION_SECONDS = 60.0
"""A token that is in use is written at most this often, by however many routers."""


class LastUsed:
    def __init__(self, access: Access, tokens: Mapping[str, TokenRecord], store: Store, clock: Clock) -> None:
        self._access = access
        self._tokens = tokens
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what is new. What cannot be written now is forgotten: the next use is noted anyway."""
        for id, used in self._access.take_used().items():
            record = self._tokens.get(id)
            if record is None or used - (record.last_used_at or 0.0) < PRECISION_SECONDS:
                continue
            try:
                await self._store.tokens.change(id, {"last_used_at": used})
            except NotFound:
                continue  # revoked in between
            except StoreUnavailable:
                return
