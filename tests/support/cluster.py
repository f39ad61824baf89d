"""Records as tests need them, written past the verbs so that any starting point can be had."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stoker.records import Assignment, Resolution, ServiceRecord, SessionRecord
from stoker.states import SessionStatus
from stoker.store.mirror import Mirror
from stoker.store.store import Store

ASSIGNMENT = Assignment(revision=1, resolution=Resolution(variant="demo", why="asked for", runtime="process"), spec={"name": "x"})


def session_record(id: str = "x-1", status: SessionStatus = SessionStatus.PENDING, node: str | None = "n1") -> SessionRecord:
    return SessionRecord(id=id, service="x", project="default", revision=1, status=status, node=node)


async def seed_session(store: Store, status: SessionStatus, *, id: str = "x-1", node: str | None = "n1") -> SessionRecord:
    """A session that is just there, in this status."""
    record = session_record(id, status, node)
    await store.database.commit("session", id, record, must="any")
    return record


async def put_service(store: Store, name: str = "x", **spec: object) -> ServiceRecord:
    record = ServiceRecord(name=name, project="default", owner="me", spec={"name": name, **spec})
    saved, _ = await store.services.put(record, model_names=(name,), new_revision=True, refresh=True, expect_version=None, actor="me")
    return saved


async def until(mirror: Mirror, condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until the mirror shows it; TimeoutError else."""
    async with asyncio.timeout(seconds):
        while not condition():
            await mirror.changed(0.2)
