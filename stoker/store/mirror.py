"""A copy of the store's records in this process, kept by the change feed: what every loop reads instead of Redis.

Life: `open` reads everything; `follow` waits on the feed, fetches what changed and tells the listeners; a gap, another
history or another store id means that everything is read anew. A record that this version cannot read is left as it was
known. While the store is away the copy stays as it was and `connected` is False. Listeners are plain functions, called
after the copy has changed; they must not block.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stoker.errors import StoreUnavailable
from stoker.records import NodeRecord, ServiceRecord, SessionRecord, TokenRecord
from stoker.store.database import SLICE, Database, decode, unreadable

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
        self._mark: bytes | None = None
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
        """Read everything, in slices. Raises StoreUnavailable."""
        version, store_id, self._mark = await self._position()
        fresh = {kind: await self._db.all(kind, KINDS[kind]) for kind in self._kinds}
        for kind, records in fresh.items():
            self.records[kind].clear()
            self.records[kind].update(records)
        self.version, self.store_id, self.connected = version, store_id, True
        self._tell("sync", "", None)

    async def follow(self) -> None:
        """Keep the copy fresh until cancelled; survives any loss of the store."""
        failures = 0
        while True:
            try:
                if not self.connected:
                    await self._resume()
                await self._step()
                failures = 0
            except StoreUnavailable as error:
                if self.connected:
                    log.warning("the store is away; going on with what is known: %s", error.__cause__ or error)
                self.connected = False
                self._changed.set()
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))

    async def changed(self, timeout: float) -> bool:
        """Wait until anything changed since the last call, at most `timeout` seconds; whether it did.

        For one waiting task per mirror; whoever else wants to know listens.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    async def _step(self) -> None:
        """One wait on the feed:

        1. Nothing came: look whether this is still the same data set.
        2. A gap (the feed is shorter than we are late), or another history than the one we read: everything anew.
        3. Fetch what the entries name, once each.
        """
        feed = self._db.keys.feed()
        answer = await self._db.ask(lambda: self._db.client.xread({feed: f"{self.version}-0"}, count=_BATCH, block=_BLOCK_MS))
        if not answer:  # (1)
            await self._resume()
            return
        rows = answer[0][1]
        if _number(rows[0][0]) != self.version + 1 or not await self._same_history():  # (2)
            await self.open()
            return
        touched: dict[str, dict[str, None]] = {}  # (3)
        for _, fields in rows:
            touched.setdefault(fields[b"kind"].decode(), {})[fields[b"id"].decode()] = None
        for kind, ids in touched.items():
            if kind in self.records:
                await self._refresh(kind, list(ids))
        self.version, self._mark = _number(rows[-1][0]), rows[-1][1].get(b"time", b"")

    async def _refresh(self, kind: str, ids: list[str]) -> None:
        for start in range(0, len(ids), SLICE):
            part = ids[start : start + SLICE]
            for id, row in zip(part, await self._db.rows(kind, part), strict=True):
                self._set(kind, id, row)
            await asyncio.sleep(0)

    def _set(self, kind: str, id: str, row: Mapping[bytes, bytes]) -> None:
        try:
            record = decode(KINDS[kind], row)
        except msgspec.MsgspecError as error:
            unreadable(kind, id, error)  # what was known of it is the best there is
            return
        if record is None:
            self.records[kind].pop(id, None)
        else:
            self.records[kind][id] = record
        self._tell(kind, id, record)

    async def _resume(self) -> None:
        """Go on where the copy stands if the store still holds the history that was read; else read everything."""
        version, store_id, _ = await self._position()
        if self._mark is None or version < self.version or store_id != self.store_id or not await self._same_history():
            await self.open()
        if not self.connected:
            self.connected = True
            self._changed.set()

    async def _same_history(self) -> bool:
        """Whether the last entry that was read is still there, with its time. An emptied store, one restored from a

        backup, or a replica that took over without the last writes counts on from an older version, and would go unseen
        once its numbers have passed ours. An entry that was trimmed says nothing, and counts as no.
        """
        if self.version == 0:
            return True
        at = f"{self.version}-0"
        rows = await self._db.ask(lambda: self._db.client.xrange(self._db.keys.feed(), at, at))
        return bool(rows) and rows[0][1].get(b"time", b"") == self._mark

    async def _position(self) -> tuple[int, str, bytes]:
        """The feed's version, the data set's id and the time of the last entry, read at once."""
        keys = self._db.keys
        pipe = self._db.client.pipeline(transaction=True)
        pipe.get(keys.feed_version())
        pipe.get(keys.store_id())
        pipe.xrevrange(keys.feed(), count=1)
        version, store_id, last = await self._db.ask(pipe.execute)
        return int(version or 0), (store_id or b"").decode(), last[0][1].get(b"time", b"") if last else b""

    def _tell(self, kind: str, id: str, record: msgspec.Struct | None) -> None:
        self._changed.set()
        for listener in self._listeners:
            listener(kind, id, record)


def _number(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])
