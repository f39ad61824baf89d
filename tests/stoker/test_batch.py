"""Commits of one turn of the loop share a round trip; each gets its own answer, in the order they were asked for."""

from __future__ import annotations

import asyncio

import pytest

from stoker.errors import NotFound, Refused
from stoker.records import Assignment, Reason, Resolution, SessionRecord
from stoker.states import SessionStatus
from stoker.store.batch import LARGEST
from stoker.store.store import Store


async def test_a_session_is_created_and_placed_in_one_turn(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 5)).epoch
    session = SessionRecord(id="x-1", service="x", project="default", revision=1, status=SessionStatus.PENDING)
    assignment = Assignment(revision=1, resolution=Resolution(variant="demo", why="", runtime="process"), spec={})
    created, placed, refused, missing = await asyncio.gather(
        store.sessions.create(session, epoch=epoch),
        store.sessions.place(session, "n", assignment, epoch=epoch),
        store.sessions.keep_pending(session, Reason("no_fit", "late"), epoch=epoch),
        store.sessions.prune("other", epoch=epoch),
        return_exceptions=True,
    )
    assert not isinstance(created, BaseException) and not isinstance(placed, BaseException)
    assert placed.version == created.version + 1
    assert isinstance(refused, Refused) and isinstance(missing, NotFound)
    found = await store.sessions.get("x-1")
    assert found is not None and found.status is SessionStatus.PLACED and found.node == "n"


async def test_more_than_a_portion_arrives_whole(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 5)).epoch
    ids = [f"x-{n}" for n in range(2 * LARGEST + 5)]
    records = [SessionRecord(id=id, service="x", project="default", revision=1, status=SessionStatus.PENDING) for id in ids]
    written = await asyncio.gather(*(store.sessions.create(record, epoch=epoch) for record in records))
    assert len({one.version for one in written}) == len(ids) and sorted(ids) == await store.database.ids("session")


async def test_one_that_gave_up_waiting_leaves_the_others_their_answers(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 5)).epoch
    records = [SessionRecord(id=f"x-{n}", service="x", project="default", revision=1, status=SessionStatus.PENDING) for n in range(3)]
    tasks = [asyncio.create_task(store.sessions.create(record, epoch=epoch)) for record in records]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(tasks[0], tasks[2])
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
