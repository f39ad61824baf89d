"""What routers tell each other and the scheduler: that they live, their load, route health, and drained sessions."""

from __future__ import annotations

import msgspec

from stoker.records import Load, RouteHealth
from stoker.store.database import Database

LIVE_SECONDS = 5.0
"""A router that has not beaten for this long is not asked any more; it should beat every second or two."""


class Routers:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def beat(self, router: str, load: dict[str, Load], address: str = "") -> None:
        """Alive now, with this load per service; services without requests since the last start are left out.

        `address` is where it listens, http://HOST:PORT, for those who send requests through it.
        """
        now, key = await self._db.time(), self._db.keys.load(router)
        pipe = self._db.client.pipeline(transaction=True)
        pipe.zadd(self._db.keys.routers_seen(), {router: now})
        pipe.delete(key)
        if load:
            pipe.hset(key, mapping={name: msgspec.json.encode(value) for name, value in load.items()})
            pipe.expire(key, 600)
        if address:
            pipe.hset(self._db.keys.router_addresses(), router, address)
        await self._db.ask(pipe.execute)

    async def leave(self, router: str) -> None:
        """This router has ended; nobody waits for it."""
        pipe = self._db.client.pipeline(transaction=True)
        pipe.zrem(self._db.keys.routers_seen(), router)
        pipe.hdel(self._db.keys.router_addresses(), router)
        await self._db.ask(pipe.execute)

    async def addresses(self) -> list[str]:
        """Where the live routers listen; those of the dead are dropped."""
        live = set(await self.live())
        rows = await self._db.ask(lambda: self._db.client.hgetall(self._db.keys.router_addresses()))  # type: ignore[arg-type,return-value]
        dead = [router for router in rows if router.decode() not in live]
        if dead:
            await self._db.ask(lambda: self._db.client.hdel(self._db.keys.router_addresses(), *dead))  # type: ignore[arg-type,return-value]
        return sorted(address.decode() for router, address in rows.items() if router not in dead)

    async def live(self) -> list[str]:
        now = await self._db.time()
        pipe = self._db.client.pipeline(transaction=True)
        pipe.zremrangebyscore(self._db.keys.routers_seen(), "-inf", now - 3600)
        pipe.zrangebyscore(self._db.keys.routers_seen(), now - LIVE_SECONDS, "+inf")
        return [name.decode() for name in (await self._db.ask(pipe.execute))[1]]

    async def loads(self) -> dict[str, dict[str, Load]]:
        """The load of each live router, by router, then service."""
        routers = await self.live()
        pipe = self._db.client.pipeline(transaction=False)
        for router in routers:
            pipe.hgetall(self._db.keys.load(router))
        rows = await self._db.ask(pipe.execute) if routers else []
        return {
            router: {name.decode(): msgspec.json.decode(value, type=Load) for name, value in row.items()}
            for router, row in zip(routers, rows, strict=True)
        }

    async def report_drain(self, router: str, session: str, in_flight: int) -> None:
        """This router has seen that the session drains, chooses it no more, and has so many requests left on it."""
        key = self._db.keys.drain(session)
        pipe = self._db.client.pipeline(transaction=True)
        pipe.hset(key, router, str(in_flight))
        pipe.expire(key, 7200)
        await self._db.ask(pipe.execute)

    async def drained(self, session: str) -> bool:
        """Whether every live router has reported 0 requests in flight on it."""
        keys = [self._db.keys.routers_seen(), self._db.keys.drain(session)]
        return bool(await self._db.script("drained", keys, [LIVE_SECONDS]))

    async def set_health(self, session: str, health: RouteHealth) -> None:
        """What the router that probes this session sees now. Tells no feed: readers ask `health`."""
        await self._db.ask(lambda: self._db.client.hset(self._db.keys.route_health(), session, msgspec.json.encode(health)))  # type: ignore[arg-type,return-value]

    async def forget_health(self, session: str) -> None:
        await self._db.ask(lambda: self._db.client.hdel(self._db.keys.route_health(), session))  # type: ignore[arg-type,return-value]

    async def health(self) -> dict[str, RouteHealth]:
        rows = await self._db.ask(lambda: self._db.client.hgetall(self._db.keys.route_health()))  # type: ignore[arg-type,return-value]
        return {session.decode(): msgspec.json.decode(value, type=RouteHealth) for session, value in rows.items()}
