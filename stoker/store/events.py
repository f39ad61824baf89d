"""Events: bounded streams, one per object and one of the cluster."""

from __future__ import annotations

import msgspec

from stoker.records import Event
from stoker.store.database import KEEP_EVENTS, Database


class Events:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def append(self, event: Event) -> None:
        """For what happens without a write to a record; the store stamps the time."""
        now, data = await self._db.time(), msgspec.json.encode(event)
        pipe = self._db.client.pipeline(transaction=True)
        for key, length in ((self._db.keys.events(), 10_000), (self._db.keys.events(event.object), 500)):
            pipe.xadd(key, {"data": data, "time": f"{now:.6f}"}, maxlen=length, approximate=True)
        pipe.expire(self._db.keys.events(event.object), KEEP_EVENTS)
        await self._db.ask(pipe.execute)

    async def list(self, object: str = "", *, since: float = 0.0, limit: int = 500) -> list[Event]:
        """The newest `limit` events of `object` (`service/NAME`; all without one) since a time, oldest first."""
        key, start = self._db.keys.events(object), f"{int(since * 1000)}"
        rows = await self._db.ask(lambda: self._db.client.xrevrange(key, "+", start, count=limit))
        found = (msgspec.structs.replace(msgspec.json.decode(f[b"data"], type=Event), time=float(f[b"time"])) for _, f in rows)
        return [event for event in reversed(list(found)) if event.time >= since]
