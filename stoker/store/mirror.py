"""A copy of the store's records in this process, kept by the change feed: what every loop reads instead of Redis.

Life: `open` reads everything; `follow` waits on the feed, fetches what changed and tells the listeners; a gap, an
older feed or another store id means that everything is read anew. While the store is away the copy stays as it was
and `connected` is False. Listeners are plain functions, called after the copy has changed; they must not block.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from stoker.errors import StoreUnavailable
from stoker.records import NodeRecord, ServiceRecord, SessionRecord, TokenRecord
from stoker.store.database import Database

log = logging.getLogger(__name__)

KINDS: Mapping[str, type[msgspec.Struct]] = {
    "service": ServiceRecord,
    "session": SessionRecord,
    "node": NodeRecord,
    "token": TokenRecord,
}
Listener = Callable[[str, str, msgspec.Struct | None], None]
_BLOCK_MS = 5_000
_BATCH = 1_000
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)


class Mirror:
    """`kinds` are the records to follow. `store_id` and `version` say which data set and how far it has been read."""

    def __init__(self, database: Database, kinds: tuple[str, ...]) -> None:
        self._db = database
        self._kinds = kinds
        self._listeners: list[Listener] = []
        self._changed = asyncio.Event()
        self.records: dict[str, dict[str, Any]] = {kind: {} for kind in kinds}
        self.version = 0
        self.store_id = ""
        self.connected = False

    @property
    def services(self) -> dict[str, ServiceRecord]:
        return self.records["service"]

    @property
    def sessions(self) -> dict[str, SessionRecord]:
        return self.records["session"]

    @property
    def nodes(self) -> dict[str, NodeRecord]:
        return self.records["node"]

    @property
    def tokens(self) -> dict[str, TokenRecord]:
        return self.records["token"]

    def listen(self, listener: Listener) -> None:
        """Call `listener(kind, id, record or None)` after every change; `("sync", "", None)` after everything was read."""
        self._listeners.append(listener)

    async def open(self) -> None:
        """Read everything. Raises StoreUnavailable."""
        version = int(await self._db.ask(lambda: self._db.client.get(self._db.keys.feed_version())) or 0)
        store_id = await self._db.ask(lambda: self._db.client.get(self._db.keys.store_id()))
        fresh = {kind: await self._db.all(kind, KINDS[kind]) for kind in self._kinds}
        for kind, records in fresh.items():
            self.records[kind].clear()
            self.records[kind].update(records)
        self.version, self.store_id, self.connected = version, (store_id or b"").decode(), True
        self._tell("sync", "", None)

    async def follow(self) -> None:
        """Keep the copy fresh until cancelled; survives any loss of the store."""
        failures = 0
        while True:
            try:
                if not self.connected:
                    await self.open()
                await self._step()
                failures = 0
            except StoreUnavailable:
                if self.connected:
                    log.warning("the store is away; going on with what is known")
                self.connected = False
                self._changed.set()
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))

    async def changed(self, timeout: float) -> bool:
        """Wait until anything changed since the last call, at most `timeout` seconds; whether it did."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout)
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    async def _step(self) -> None:
        feed = self._db.keys.feed()
        try:
            answer = await self._db.ask(lambda: self._db.client.xread({feed: f"{self.version}-0"}, count=_BATCH, block=_BLOCK_MS))
        except ResponseError as error:
            raise StoreUnavailable(f"the store refused the feed: {error}") from error
        if not answer:
            await self._check_store()
            return
        rows = answer[0][1]
        first = int(rows[0][0].partition(b"-")[0])
        if first != self.version + 1:
            await self.open()
            return
        touched: dict[str, dict[str, None]] = {}
        for _, fields in rows:
            touched.setdefault(fields[b"kind"].decode(), {})[fields[b"id"].decode()] = None
        for kind, ids in touched.items():
            if kind in self.records:
                await self._refresh(kind, list(ids))
        self.version = int(rows[-1][0].partition(b"-")[0])

    async def _refresh(self, kind: str, ids: list[str]) -> None:
        found = await self._db.many(kind, ids, KINDS[kind])
        for id in ids:
            record = found.get(id)
            if record is None:
                self.records[kind].pop(id, None)
            else:
                self.records[kind][id] = record
            self._tell(kind, id, record)

    async def _check_store(self) -> None:
        """A quiet feed may be a quiet platform, or another data set: an emptied store, or one restored from a backup."""
        pipe = self._db.client.pipeline(transaction=True)
        pipe.get(self._db.keys.feed_version())
        pipe.get(self._db.keys.store_id())
        version, store_id = await self._db.ask(pipe.execute)
        if int(version or 0) < self.version or (store_id or b"").decode() != self.store_id:
            await self.open()

    def _tell(self, kind: str, id: str, record: msgspec.Struct | None) -> None:
        self._changed.set()
        for listener in self._listeners:
            listener(kind, id, record)
