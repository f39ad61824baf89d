"""The mirror follows what the verbs write."""

from __future__ import annotations

import asyncio

import pytest

from stoker.doorbell import BellWorker, Doorbell
from stoker.errors import Refused, StaleLeader
from stoker.records import Assignment, Reason, Resolution, ServiceRecord, SessionRecord
from stoker.states import SessionStatus
from stoker.store.store import Store


async def test_a_session_goes_through_its_arrows_and_the_mirror_sees_them(store: Store) -> None:
    mirror = store.mirror("session", "service")
    await mirror.open()
    follower = asyncio.create_task(mirror.follow())
    epoch = (await store.leadership.claim("a", 5)).epoch
    service = ServiceRecord(name="x", project="default", owner="me", spec={"name": "x"})
    saved, _ = await store.services.put(service, model_names=("x",), new_revision=True, refresh=True, expect_version=None, actor="me")
    assert saved.version == 1 and saved.created_at > 0
    session = SessionRecord(id="x-1", service="x", project="default", revision=1, status=SessionStatus.PENDING)
    await store.sessions.create(session, epoch=epoch)
    await store.sessions.place(session, "n1", Assignment(revision=1, resolution=Resolution(variant="demo", why="", runtime="process"), spec={}), epoch=epoch)
    await store.sessions.start(session, node="n1")
    with pytest.raises(Refused):
        await store.sessions.ready(session, "h:1", node="n2")
    await store.sessions.ready(session, "h:1", node="n1")
    with pytest.raises(Refused):
        await store.sessions.unplace(session, Reason("x", "y"), epoch=epoch)
    with pytest.raises(StaleLeader):
        await store.sessions.drain(session, Reason("x", "y"), 0.0, epoch=epoch + 1)
    async with asyncio.timeout(5):
        while "x-1" not in mirror.sessions or mirror.sessions["x-1"].status is not SessionStatus.READY:
            await mirror.changed(1)
    assert mirror.sessions["x-1"].address == "h:1" and mirror.sessions["x-1"].ready_at
    assert [e.reason for e in await store.events.list("service/x")] == ["applied", "created", "placed", "starting", "ready"]
    follower.cancel()


async def test_the_bell_is_answered_at_once(store: Store) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue(10)
    worker = BellWorker(store, heard.put)
    task = asyncio.create_task(worker.main())
    await asyncio.sleep(0.2)
    loop = asyncio.get_running_loop()
    for n in range(5):
        start = loop.time()
        await Doorbell(store).ring(f"s{n}")
        assert await asyncio.wait_for(heard.get(), 2) == f"s{n}"
        assert loop.time() - start < 0.4
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
