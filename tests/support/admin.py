"""A whole router in this process on a real socket and a real store, with a token for each kind of caller."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from router.assembly import build
from router.context import Context
from router.first_token import ensure_admin
from router.main import Stop, serve
from stoker.clock import SystemClock
from stoker.records import Assignment, DeviceShare, NodeRecord, Resolution, SessionRecord, TokenRecord
from stoker.settings import Settings
from stoker.states import SessionStatus
from stoker.store.store import Store
from stoker.tokens import mint

ADMIN = "sk-admin-" + "0" * 64
FOREIGN = "other"


class Router:
    """`tokens` by caller: admin, deployer, viewer, user (project default), other (deployer of the project `other`), expired, revoked."""

    def __init__(self, context: Context, store: Store) -> None:
        self.context = context
        self.store = store
        self.url = context.address
        self.tokens: dict[str, str | None] = {"admin": ADMIN, "none": None, "garbage": "sk-admin-" + "f" * 64}

    def client(self, caller: str = "admin", **more: Any) -> httpx2.AsyncClient:
        token = self.tokens[caller]
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=20, trust_env=False, **more)

    async def token(self, caller: str, **fields: Any) -> str:
        """Make a token past the API."""
        made = mint()
        await self.store.tokens.put(TokenRecord(**{"id": made.id, "hash": made.hash, "name": caller, "created_at": time.time(), **fields}))
        self.tokens[caller] = made.token
        return made.id

    async def session(self, service: str = "mine", id: str | None = None, **more: Any) -> SessionRecord:
        """A READY session on n1 that is just there; `more` are fields of its record."""
        resolution = Resolution(variant="demo", why="", runtime="process", cpu=500, memory=2**20, gpus=1, gpu_share=25)
        assignment = Assignment(revision=1, resolution=resolution, spec={}, gpus=(DeviceShare("g0", 25, 2**30),))
        fields = {"id": id or f"{service}-aaaaa", "service": service, "project": "default", "revision": 1, "created_at": time.time()}
        fields |= {"status": SessionStatus.READY, "node": "n1", "assignment": assignment, "address": "127.0.0.1:9", **more}
        record = SessionRecord(**fields)
        await self.store.database.commit("session", record.id, record, must="any")
        return record

    async def node(self, name: str = "n1", **more: Any) -> None:
        await self.store.nodes.register(NodeRecord(name=name, address="127.0.0.1", cpu=8000, memory=2**34, **more))

    async def settled(self) -> None:
        """Everything written so far is in the router's mirror."""
        version = await self.store.version()
        async with asyncio.timeout(10):
            while self.context.mirror.version < version:
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def router(store: Store, folder: Path, **settings: Any) -> AsyncIterator[Router]:
    """Serves until the block ends. `settings` are fields of Settings."""
    given = {"data_dir": folder, "port": 0, "admin_token": ADMIN, "redis_url": store.url, "cluster": store.database.keys.cluster}
    made, clock = Settings(**{**given, **settings}), SystemClock()
    await ensure_admin(store, made)
    async with build(made, store, clock) as (context, listening), asyncio.TaskGroup() as group:
        stop = Stop(1.0)
        running = group.create_task(serve(context, listening, stop))
        found = Router(context, store)
        for role in ("deployer", "viewer", "user"):
            await found.token(role, role=role)
        await found.token(FOREIGN, role="deployer", project=FOREIGN)
        await found.token("expired", role="admin", expires_at=time.time() - 1)
        await store.tokens.revoke(await found.token("revoked", role="admin"))
        await found.settled()
        try:
            yield found
        finally:
            stop.hurry()
            await running
