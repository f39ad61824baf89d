"""Every verb of a session against every status: exactly the arrows of the table pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from stoker.errors import Conflict, InvalidRequest, NotFound, Refused, StaleLeader
from stoker.records import Reason, SessionRecord
from stoker.states import TERMINAL, TRANSITIONS, Owner, SessionStatus
from stoker.store.sessions import Sessions
from stoker.store.store import Store
from tests.support.cluster import ASSIGNMENT, seed_session, session_record

S = SessionStatus
WHY = Reason("no_fit", "there is no room")
Verb = Callable[[Sessions, SessionRecord, int], Awaitable[object]]

VERBS: dict[str, tuple[SessionStatus, Owner, Verb]] = {
    "place": (S.PLACED, Owner.SCHEDULER, lambda v, s, e: v.place(s, "n1", ASSIGNMENT, epoch=e)),
    "unplace": (S.PENDING, Owner.SCHEDULER, lambda v, s, e: v.unplace(s, WHY, epoch=e)),
    "drain": (S.DRAINING, Owner.SCHEDULER, lambda v, s, e: v.drain(s, WHY, 10.0, epoch=e)),
    "lose": (S.LOST, Owner.SCHEDULER, lambda v, s, e: v.lose(s, WHY, epoch=e)),
    "recover": (S.READY, Owner.SCHEDULER, lambda v, s, e: v.recover(s, epoch=e)),
    "start": (S.STARTING, Owner.WORKER, lambda v, s, e: v.start(s, node="n1")),
    "ready": (S.READY, Owner.WORKER, lambda v, s, e: v.ready(s, "h:1", node="n1")),
    "sleep": (S.ASLEEP, Owner.WORKER, lambda v, s, e: v.sleep(s, node="n1")),
    "fail": (S.FAILED, Owner.WORKER, lambda v, s, e: v.fail(s, WHY, node="n1")),
    "stop": (S.STOPPED, Owner.WORKER, lambda v, s, e: v.stop(s, node="n1")),
}
# STOPPED has two arrows of the scheduler, with a verb each, so that neither can be taken for the other.
NARROW: dict[str, tuple[SessionStatus, SessionStatus, Verb]] = {
    "withdraw": (S.PENDING, S.STOPPED, lambda v, s, e: v.withdraw(s, WHY, epoch=e)),
    "write_off": (S.LOST, S.STOPPED, lambda v, s, e: v.write_off(s, WHY, epoch=e)),
}


def arrows() -> set[tuple[SessionStatus, SessionStatus, Owner]]:
    return {(old, new, owner) for (old, new), (owner, _) in TRANSITIONS.items() if old is not None}


def test_every_arrow_of_the_table_has_a_verb() -> None:
    wide = {(old, new, owner) for old, new, owner in arrows() for to, who, _ in VERBS.values() if (to, who) == (new, owner)}
    narrow = {(old, new, Owner.SCHEDULER) for old, new, _ in NARROW.values()}
    assert wide | narrow == arrows()


@pytest.mark.parametrize("name", VERBS)
async def test_a_verb_passes_from_the_statuses_of_the_table_and_from_no_other(store: Store, name: str) -> None:
    to, owner, verb = VERBS[name]
    epoch = (await store.leadership.claim("a", 60)).epoch
    for status in S:
        session = await seed_session(store, status, id=f"x-{status}")
        if (status, to, owner) in arrows():
            await verb(store.sessions, session, epoch)
            after = to
        else:
            with pytest.raises(Refused):
                await verb(store.sessions, session, epoch)
            after = status
        found = await store.sessions.get(session.id)
        assert found is not None and found.status is after, (name, status)


@pytest.mark.parametrize("name", NARROW)
async def test_the_two_ways_to_stopped_of_the_scheduler_stay_apart(store: Store, name: str) -> None:
    origin, to, verb = NARROW[name]
    epoch = (await store.leadership.claim("a", 60)).epoch
    for status in S:
        session = await seed_session(store, status, id=f"x-{status}")
        if status is origin:
            await verb(store.sessions, session, epoch)
        else:
            with pytest.raises(Refused):
                await verb(store.sessions, session, epoch)
        found = await store.sessions.get(session.id)
        assert found is not None and found.status is (to if status is origin else status)
        assert (found.ended_at is not None) == (status is origin)


@pytest.mark.parametrize("name", [name for name, (_, owner, _) in VERBS.items() if owner is Owner.SCHEDULER] + list(NARROW))
async def test_an_older_leader_is_refused_whatever_the_status(store: Store, name: str) -> None:
    verb = NARROW[name][2] if name in NARROW else VERBS[name][2]
    old = (await store.leadership.claim("a", 60)).epoch
    await store.leadership.resign("a")
    new = (await store.leadership.claim("b", 60)).epoch
    assert new > old
    for status in S:
        session = await seed_session(store, status, id=f"x-{status}")
        with pytest.raises(StaleLeader):
            await verb(store.sessions, session, old)
        assert await store.sessions.get(session.id) == session


@pytest.mark.parametrize("name", [name for name, (_, owner, _) in VERBS.items() if owner is Owner.WORKER])
async def test_another_nodes_worker_is_refused(store: Store, name: str) -> None:
    to, _, verb = VERBS[name]
    for status in (old for old, new, owner in arrows() if new is to and owner is Owner.WORKER):
        session = await seed_session(store, status, id=f"x-{status}", node="n2")
        with pytest.raises(Refused):
            await verb(store.sessions, session, 0)


@pytest.mark.parametrize("name", [*VERBS, *NARROW])
async def test_a_session_that_is_not_there_is_not_made(store: Store, name: str) -> None:
    verb = NARROW[name][2] if name in NARROW else VERBS[name][2]
    epoch = (await store.leadership.claim("a", 60)).epoch
    with pytest.raises(NotFound):
        await verb(store.sessions, session_record(), epoch)
    assert await store.sessions.all() == {}


async def test_creating_twice_is_a_conflict_and_an_old_leader_creates_nothing(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 60)).epoch
    await store.sessions.create(session_record(node=None), epoch=epoch)
    with pytest.raises(Conflict):
        await store.sessions.create(session_record(node=None), epoch=epoch)
    with pytest.raises(StaleLeader):
        await store.sessions.create(session_record("x-2", node=None), epoch=epoch + 1)
    assert list(await store.sessions.all()) == ["x-1"]


async def test_only_what_ended_is_pruned_and_what_routers_said_of_it_goes_too(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 60)).epoch
    for status in S:
        session = await seed_session(store, status, id=f"x-{status}")
        await store.routers.report_drain("r1", session.id, 0)
        if status in TERMINAL:
            await store.sessions.prune(session.id, epoch=epoch)
        else:
            with pytest.raises(Refused):
                await store.sessions.prune(session.id, epoch=epoch)
    left = {status for status in S if await store.sessions.get(f"x-{status}")}
    assert left == set(S) - TERMINAL
    keys = [key.decode() for key in await store.database.client.keys(store.database.keys.drain("*"))]
    assert len(keys) == len(left)


async def test_a_pending_reason_is_told_once(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 60)).epoch
    session = await seed_session(store, S.PENDING)
    assert (await store.sessions.keep_pending(session, WHY, epoch=epoch)).changed
    told = await store.sessions.get(session.id)
    assert told is not None and told.reason == WHY
    assert not (await store.sessions.keep_pending(told, WHY, epoch=epoch)).changed
    assert len(await store.events.list("service/x")) == 1
    with pytest.raises(Refused):
        await store.sessions.keep_pending(await seed_session(store, S.PLACED, id="x-2"), WHY, epoch=epoch)


async def test_a_nodes_refusal_is_kept_until_the_session_is_taken_back(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 60)).epoch
    session = await seed_session(store, S.PLACED)
    await store.sessions.refuse(session, Reason("held_by", "GPU 0 is held by y-1"), node="n1")
    refused = await store.sessions.get("x-1")
    assert refused is not None and refused.status is S.PLACED and refused.refused is not None
    await store.sessions.unplace(session, WHY, epoch=epoch)
    back = await store.sessions.get("x-1")
    assert back is not None and (back.refused, back.node, back.assignment) == (None, None, None)
    with pytest.raises(Refused):
        await store.sessions.refuse(session, WHY, node="n1")


async def test_a_report_changes_facts_of_a_live_session_only(store: Store) -> None:
    session = await seed_session(store, S.STARTING)
    await store.sessions.report(session, {"pid": 7}, node="n1")
    found = await store.sessions.get("x-1")
    assert found is not None and found.pid == 7 and found.status is S.STARTING
    with pytest.raises(ValueError, match="status"):
        await store.sessions.report(session, {"status": S.READY}, node="n1")
    for status in (S.PENDING, S.STOPPED, S.FAILED):
        with pytest.raises(Refused):
            await store.sessions.report(await seed_session(store, status, id="x-2"), {"pid": 8}, node="n1")


async def test_weights_stay_within_their_bounds(store: Store) -> None:
    session = await seed_session(store, S.READY)
    await store.sessions.weigh(session, 0, "me")
    for weight in (-1, 101):
        with pytest.raises(InvalidRequest):
            await store.sessions.weigh(session, weight, "me")
    found = await store.sessions.get("x-1")
    assert found is not None and found.weight == 0


async def test_only_a_draining_session_is_hastened(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 60)).epoch
    for status in S:
        session = await seed_session(store, status, id=f"x-{status}")
        if status is S.DRAINING:
            await store.sessions.hasten(session, WHY, 5.0, epoch=epoch)
        else:
            with pytest.raises(Refused):
                await store.sessions.hasten(session, WHY, 5.0, epoch=epoch)
    found = await store.sessions.get("x-DRAINING")
    assert found is not None and found.drain_until == 5.0
    with pytest.raises(StaleLeader):
        await store.sessions.hasten(found, WHY, 4.0, epoch=epoch + 1)
