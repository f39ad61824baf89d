"""The store: what router, scheduler, worker and command line agree on. Its parts are nouns, their methods verbs."""

from __future__ import annotations

import secrets

import redis.asyncio as aioredis

from stoker.store.database import Database
from stoker.store.events import Events
from stoker.store.keys import Keys
from stoker.store.leadership import Leadership
from stoker.store.mirror import KINDS, Mirror
from stoker.store.nodes import Nodes
from stoker.store.routers import Routers
from stoker.store.services import Services
from stoker.store.sessions import Sessions
from stoker.store.tokens import Tokens

SCHEMA = 1


class Store:
    """Open one per process with `Store.open`, close it with `close`. Verbs raise StoreUnavailable while Redis is away."""

    def __init__(self, database: Database, url: str) -> None:
        self.database = database
        self.url = url
        self.services = Services(database)
        self.sessions = Sessions(database)
        self.nodes = Nodes(database)
        self.routers = Routers(database)
        self.tokens = Tokens(database)
        self.leadership = Leadership(database)
        self.events = Events(database)

    @classmethod
    async def open(cls, url: str, cluster: str) -> Store:
        """Connect to `url` (redis://, rediss://, unix://), give the data set an id if it has none.

        Raises StoreUnavailable if nothing answers. `stoker.store.checks` says whether that Redis is safe to use.
        """
        client = aioredis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=15, health_check_interval=15)
        store = cls(Database(client, Keys(cluster)), url)
        keys = store.database.keys
        await store.database.ask(lambda: client.set(keys.store_id(), secrets.token_hex(8), nx=True))
        await store.database.ask(lambda: client.set(keys.schema(), SCHEMA, nx=True))
        return store

    async def time(self) -> float:
        """The store's clock in seconds."""
        return await self.database.time()

    async def id(self) -> str:
        """Which data set this is."""
        value = await self.database.ask(lambda: self.database.client.get(self.database.keys.store_id()))
        return (value or b"").decode()

    def mirror(self, *kinds: str) -> Mirror:
        """A copy of these kinds of records (all without any); call its `open`, then run `follow` as a task."""
        return Mirror(self.database, kinds or tuple(KINDS))

    async def close(self) -> None:
        await self.database.client.aclose()
