"""Nodes: the worker registers and beats, admin calls cordon, drain and remove."""

from __future__ import annotations

from stoker.records import Event, NodeRecord
from stoker.store.database import Database, Guard, Written

WORKERS_FIELDS = frozenset(NodeRecord.__struct_fields__) - {"cordoned", "draining_until", "cordoned_gpus", "removed", "registered_at"}
ADMINS_FIELDS = frozenset({"cordoned", "draining_until", "cordoned_gpus", "removed"})


class Nodes:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, name: str) -> NodeRecord | None:
        return await self._db.get("node", name, NodeRecord)

    async def all(self) -> dict[str, NodeRecord]:
        return await self._db.all("node", NodeRecord)

    async def register(self, record: NodeRecord) -> Written:
        """The worker is here, with this inventory; what admin calls own stays, except that a removed node is back."""
        changes = {name: getattr(record, name) for name in WORKERS_FIELDS} | {"removed": False}
        event = Event(object=f"node/{record.name}", reason="registered", message=f"worker {record.instance} registered", actor="worker")
        written = await self._db.commit("node", record.name, changes, must="any", stamp=("registered_at",), event=event)
        await self.beat(record.name)
        return written

    async def update(self, name: str, instance: str, changes: dict[str, object]) -> Written:
        """New inventory, facts or reason from the worker that registered as `instance`; another one is refused."""
        unknown = changes.keys() - WORKERS_FIELDS
        if unknown:
            raise ValueError(f"not the worker's to write: {sorted(unknown)}")
        return await self._db.commit("node", name, changes, expect=[Guard("instance", (instance,))])

    async def beat(self, name: str) -> None:
        """Alive now, by the store's clock. Tells no feed: readers ask `seen`."""
        now = await self._db.time()
        await self._db.ask(lambda: self._db.client.zadd(self._db.keys.nodes_seen(), {name: now}))

    async def seen(self) -> dict[str, float]:
        """When each node last beat, in the store's time."""
        rows = await self._db.ask(lambda: self._db.client.zrange(self._db.keys.nodes_seen(), 0, -1, withscores=True))
        return {name.decode(): float(score) for name, score in rows}

    async def mark(self, name: str, changes: dict[str, object], *, reason: str, message: str, actor: str) -> Written:
        """An admin's word: cordoned, draining_until, cordoned_gpus or removed."""
        unknown = changes.keys() - ADMINS_FIELDS
        if unknown:
            raise ValueError(f"not an admin's to write: {sorted(unknown)}")
        event = Event(object=f"node/{name}", reason=reason, message=message, actor=actor)
        return await self._db.commit("node", name, changes, event=event)

    async def forget(self, name: str) -> Written:
        """Remove a node that holds nothing; its worker registers again if it lives."""
        await self._db.ask(lambda: self._db.client.zrem(self._db.keys.nodes_seen(), name))
        return await self._db.commit("node", name, {}, delete=True)
