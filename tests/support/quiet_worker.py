"""A node without engines: registers, beats, and takes its sessions through their arrows as fast as the feed tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from stoker.errors import Refused
from stoker.records import NodeRecord, ServiceRecord, SessionRecord
from stoker.states import SessionStatus
from stoker.store.mirror import Mirror
from stoker.store.store import Store
from tests.support.drawn import node

_S = SessionStatus


class QuietWorker:
    """`mirror` shows what it sees; sessions stay PLACED where `lazy`."""

    def __init__(self, store: Store, record: NodeRecord, *, lazy: bool) -> None:
        self.store, self.record, self.lazy = store, record, lazy
        self.mirror: Mirror = store.mirror("session", "node", "service")

    async def run(self) -> None:
        while True:
            await self.store.nodes.beat(self.record.name)
            for session in [] if self.lazy else list(self.mirror.sessions.values()):
                if session.node == self.record.name:
                    await self._move(session)
            await self.mirror.changed(0.5)

    async def _move(self, session: SessionRecord) -> None:
        name = self.record.name
        try:
            if session.status is _S.PLACED:
                await self.store.sessions.start(session, node=name)
            elif session.status is _S.STARTING:
                await self.store.sessions.ready(session, "127.0.0.1:1", node=name)
            elif session.status is _S.DRAINING:
                await self.store.sessions.stop(session, node=name)
        except Refused:
            return

    async def until(self, seconds: float, condition: Any) -> Any:
        """What `condition(mirror)` gives once it is true."""
        async with asyncio.timeout(seconds):
            while not (found := condition(self.mirror)):
                await asyncio.sleep(0.01)
        return found


@asynccontextmanager
async def quiet_worker(store: Store, name: str = "n1", *, lazy: bool = False, **more: Any) -> AsyncIterator[QuietWorker]:
    worker = QuietWorker(store, node(name, **more), lazy=lazy)
    await store.nodes.register(worker.record)
    await worker.mirror.open()
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(worker.mirror.follow()), tasks.create_task(worker.run())]
        try:
            yield worker
        finally:
            for task in running:
                task.cancel()


async def put(store: Store, name: str, replicas: object = 1, **spec: Any) -> ServiceRecord:
    """Apply a demo service."""
    record = ServiceRecord(name=name, project="default", owner="me", spec={"name": name, "model": "demo", "replicas": replicas, **spec})

    old = await store.services.get(name)
    changed = old is not None and _apart_from_replicas(old.spec) != _apart_from_replicas(record.spec)
    saved, _ = await store.services.put(record, model_names=(name,), new_revision=changed, refresh=changed, expect_version=None, actor="me")
    return saved


def _apart_from_replicas(spec: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in spec.items() if field != "replicas"}
