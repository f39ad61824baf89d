"""The scheduler's lease: one leader, an epoch that only grows, and writes of older epochs refused by the store."""

from __future__ import annotations

from typing import NamedTuple

from stoker.store.database import Database


class Lease(NamedTuple):
    """Whether the asker holds the lease, its epoch if so, and who holds it."""

    held: bool
    epoch: int
    holder: str


class Leadership:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def claim(self, holder: str, seconds: float) -> Lease:
        """Take the lease if it is free, or renew it if it is ours, for so many seconds."""
        keys = [self._db.keys.leader(), self._db.keys.leader_epoch()]
        held, epoch, who = await self._db.script("lead", keys, [holder, int(seconds * 1000)])
        return Lease(bool(held), int(epoch), who.decode())

    async def resign(self, holder: str) -> None:
        """Give it back, so that a follower need not wait for the lease to run out."""
        await self._db.script("resign", [self._db.keys.leader()], [holder])

    async def leader(self) -> str | None:
        holder = await self._db.ask(lambda: self._db.client.hget(self._db.keys.leader(), "holder"))  # type: ignore[arg-type,return-value]
        return holder.decode() if holder else None

    async def epoch(self) -> int:
        """The highest epoch ever given out."""
        return int(await self._db.ask(lambda: self._db.client.get(self._db.keys.leader_epoch())) or 0)
