"""The store: what router, scheduler, worker and command line agree on. Its parts are nouns, their methods verbs."""

from __future__ import annotations

import secrets
from pathlib import Path

from stoker.errors import ConfigurationError, StoreUnavailable
from stoker.store.checks import SCHEMA, refuse_unsafe
from stoker.store.connection import Connection, address, connect
from stoker.store.database import Database, StoreDenied
from stoker.store.events import Events
from stoker.store.figures import Figures
from stoker.store.jobs import Jobs
from stoker.store.keys import Keys
from stoker.store.leadership import Leadership
from stoker.store.mirror import KINDS, Mirror
from stoker.store.nodes import Nodes
from stoker.store.routers import Routers
from stoker.store.services import Services
from stoker.store.sessions import Sessions
from stoker.store.tokens import Tokens


class Store:
    """Open one per process with `Store.open`, close it with `close`. Verbs raise StoreUnavailable while Redis is away."""

    def __init__(self, database: Database, url: str, connection: Connection) -> None:
        self._connection = connection
        self.database = database
        self.url = url
        self.services = Services(database)
        self.sessions = Sessions(database)
        self.nodes = Nodes(database)
        self.routers = Routers(database)
        self.tokens = Tokens(database)
        self.leadership = Leadership(database)
        self.events = Events(database)
        self.jobs = Jobs(database)
        self.figures = Figures(database, self.jobs.keys)

    @classmethod
    async def open(cls, url: str, cluster: str) -> Store:
        """Connect to `url` (redis://, rediss://, unix://, redis+sentinel://), give the data set an id if it has none.

        Raises ConfigurationError (the URL, the password, or the server is unsafe to use: see stoker.store.checks),
        StoreUnavailable if nothing answers there.
        """
        connection = connect(url)
        folder = Path(url.removeprefix("unix://").partition("?")[0]).parent if url.startswith("unix://") else None
        store = cls(Database(connection.client, Keys(cluster), folder), url, connection)
        try:
            await refuse_unsafe(store.database)
            await store._begin()
        except StoreDenied as error:
            await store.close()
            raise ConfigurationError(f"the store at {address(url)} refuses this user or password; see STOKER_REDIS_URL") from error
        except StoreUnavailable as error:
            await store.close()
            raise StoreUnavailable(f"no store answers at {address(url)}: {error.__cause__}") from error
        except BaseException:
            await store.close()
            raise
        return store

    async def _begin(self) -> None:
        keys, client = self.database.keys, self.database.client
        await self.database.ask(lambda: client.set(keys.store_id(), secrets.token_hex(8), nx=True))
        await self.database.ask(lambda: client.set(keys.schema(), SCHEMA, nx=True))

    async def time(self) -> float:
        """The store's clock in seconds."""
        return await self.database.time()

    async def version(self) -> int:
        """The feed's version now: a mirror that has reached it has seen every write before this call."""
        return int(await self.database.ask(lambda: self.database.client.get(self.database.keys.feed_version())) or 0)

    async def id(self) -> str:
        """Which data set this is."""
        value = await self.database.ask(lambda: self.database.client.get(self.database.keys.store_id()))
        return (value or b"").decode()

    def mirror(self, *kinds: str) -> Mirror:
        """A copy of these kinds of records (all without any); call its `open`, then run `follow` as a task."""
        return Mirror(self.database, kinds or tuple(KINDS))

    async def close(self) -> None:
        await self._connection.close()
