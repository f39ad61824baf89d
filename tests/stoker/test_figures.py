"""Counts kept in the store: with the write that makes them, once, and gone with their service."""

from __future__ import annotations

import pytest

from stoker.errors import Refused
from stoker.records import Assignment, Reason, Resolution, ServiceRecord, SessionRecord
from stoker.states import Phase, SessionStatus
from stoker.store.store import Store

RESOLUTION = Resolution(variant="demo", why="", runtime="process")


class Life:
    """One service with sessions, by the store's verbs."""

    def __init__(self, store: Store, epoch: int) -> None:
        self.store, self.epoch = store, epoch

    async def placed(self, id: str) -> SessionRecord:
        session = SessionRecord(id=id, service="mine", project="default", revision=1, status=SessionStatus.PENDING)
        await self.store.sessions.create(session, epoch=self.epoch)
        await self.store.sessions.place(session, "n1", Assignment(revision=1, resolution=RESOLUTION, spec={}), epoch=self.epoch)
        return session

    async def counters(self) -> tuple[dict[str, int], dict[str, int]]:
        """Of the service, and of none."""
        found = await self.store.figures.read(["mine"])
        return found["mine"], found[""]


@pytest.fixture
async def life(store: Store) -> Life:
    record = ServiceRecord(name="mine", project="default", owner="t", spec={"model": "demo"})
    await store.services.put(record, model_names=("mine",), new_revision=True, refresh=True, expect_version=None, actor="t")
    return Life(store, (await store.leadership.claim("test", 600)).epoch)


def seen(counters: dict[str, int], name: str) -> int:
    """How many observations a histogram has."""
    return sum(count for field, count in counters.items() if field.startswith(name + "|b"))


async def test_a_start_is_measured_phase_by_phase(life: Life) -> None:
    session, sessions = await life.placed("mine-1"), life.store.sessions
    assert seen((await life.counters())[1], "placement_seconds") == 1
    await sessions.start(session, node="n1")
    await sessions.report(session, {"pid": 5}, node="n1")
    await sessions.report(session, {"phase": Phase.STARTING, "pid": 8}, node="n1")
    assert seen((await life.counters())[1], "session_start_seconds|starting") == 0, "the phase is still the same"
    await sessions.report(session, {"phase": Phase.LOADING, "pid": 6}, node="n1")
    await sessions.report(session, {"phase": Phase.LOADING}, node="n1")
    first = await sessions.get("mine-1")
    await sessions.ready(session, "127.0.0.1:1", node="n1")
    await sessions.report(session, {"pid": 7}, node="n1")
    counters = (await life.counters())[1]
    assert {field.split("|")[1] for field in counters if field.startswith("session_start")} == {"starting", "loading"}
    assert seen(counters, "session_start_seconds|starting") == seen(counters, "session_start_seconds|loading") == 1
    after = await sessions.get("mine-1")
    assert first is not None and after is not None and after.phase_at is not None and first.phase_at is not None
    spent = counters["session_start_seconds|loading|us"] / 1e6
    assert abs(spent - (after.phase_at - first.phase_at)) < 1e-3, "from the beginning of the phase to its end"


async def test_an_end_is_counted_by_the_write_that_makes_it(life: Life) -> None:
    sessions = life.store.sessions
    for number, code in enumerate(("start_exit", "made-up-by-a-plug-in")):
        session = await life.placed(f"mine-{number}")
        await sessions.fail(session, Reason(code, ""), node="n1")
        with pytest.raises(Refused):
            await sessions.fail(session, Reason(code, ""), node="n1")
    session = await life.placed("mine-9")
    await sessions.drain(session, Reason("node_lost", ""), 0.0, epoch=life.epoch)
    drained = await sessions.get("mine-9")
    assert drained is not None
    await sessions.stop(drained, node="n1")
    ends = {field.split("|")[1]: count for field, count in (await life.counters())[0].items() if field.startswith("session_ends")}
    assert ends == {"start_exit": 1, "other": 1, "node_lost": 1}


async def test_a_decision_is_counted_if_it_changes_something(life: Life) -> None:
    count = {"scale_decisions_total|up|request": 1, "cold_starts_total": 1}
    for _ in range(2):
        await life.store.services.decide("mine", {"wanted": 1}, epoch=life.epoch, count=count)
    assert (await life.counters())[0] == count


async def test_an_engines_own_count_is_taken_over_once_and_from_zero_when_it_begins_anew(life: Life) -> None:
    figures, name = life.store.figures, "llm_tokens_total|prompt"
    for count in (10, 10, 25, 4):
        await figures.reach("mine", "mine-1", {name: count})
    await figures.reach("mine", "mine-2", {name: 2**40})
    assert (await life.counters())[0][name] == 25 + 4 + 2**40
    await figures.reach("gone", "gone-1", {name: 5})
    assert (await figures.read(["gone"]))["gone"] == {}


async def test_a_deleted_service_takes_its_counters_along(life: Life) -> None:
    await life.store.services.decide("mine", {"wanted": 1}, epoch=life.epoch, count={"cold_starts_total": 1})
    record = await life.store.services.get("mine")
    assert record is not None
    await life.store.services.delete(record, now=True, actor="t")
    assert (await life.counters())[0]
    await life.store.services.forget("mine", epoch=life.epoch)
    assert (await life.counters())[0] == {}


async def test_old_words_about_gpus_are_dropped(store: Store) -> None:
    await store.figures.set_utilization("n1", {"g0": 0.5})
    now = await store.time()
    assert await store.figures.utilization(now) == {"n1": {"g0": 0.5}}
    assert await store.figures.utilization(now + 61) == {} == await store.figures.utilization(now)
