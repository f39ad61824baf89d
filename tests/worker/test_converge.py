"""What to do about each session: the cases by number, and what holds in every world."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.records import Reason, SessionRecord
from stoker.states import HOLDING, SessionStatus
from worker.converge import FORGOTTEN_SECONDS, Action, Do, World, converge
from worker.grants import Grant
from worker.verbs import Fact, Stage, Verb, next_verb

WHY = Reason("start_exit", "it fell over")


def record(status: str, node: str | None = "n1", **more: Any) -> SessionRecord:
    return SessionRecord(id="svc-1", service="svc", project="p", revision=1, status=SessionStatus(status), node=node, **more)


def held(**more: Any) -> Grant:
    return Grant(**({"session": "svc-1", "service": "svc", "store": "s", "port": 20000} | more))


def decide(session: SessionRecord | None, grant: Grant | None, *, now: float = 100.0, **more: Any) -> Do | None:
    other = SessionRecord(id="other-1", service="other", project="p", revision=1, status=SessionStatus.READY, node="n2")
    world: dict[str, Any] = {
        "node": "n1",
        "store": "s",
        "believed": True,
        "sessions": {"other-1": other} | ({"svc-1": session} if session else {}),
        "grants": {"svc-1": grant} if grant else {},
        "missing_since": {"svc-1": 0.0},
    }
    actions = converge(World(**(world | more)), now)
    assert len(actions) <= 1
    return actions[0].do if actions else None


@pytest.mark.parametrize(
    ("session", "grant", "wanted"),
    [
        (record("PLACED"), None, Do.KEEP),  # 1
        (record("PLACED", refused=WHY), None, None),  # 2
        (record("DRAINING"), held(), Do.DRAIN),  # 3
        (record("PLACED"), held(), Do.KEEP),  # 4
        (record("STARTING"), held(), Do.KEEP),
        (record("READY"), held(), Do.KEEP),
        (record("LOST"), held(), Do.KEEP),
        (record("READY"), None, Do.GONE),  # 5
        (record("DRAINING"), None, Do.GONE),
        (record("LOST"), None, Do.GONE),
        (record("STOPPED"), None, None),
        (record("STOPPED"), held(), Do.STOP),  # 6
        (record("READY", node="n2"), held(), Do.STOP),
        (record("PENDING", node=None), held(), Do.STOP),
        (None, held(), Do.STOP),  # 7
        (record("READY"), held(ended_at=1.0), Do.SETTLE),  # 9
        (record("READY"), held(ended_at=1.0, reported=True), Do.SETTLE),
        (record("FAILED"), held(ended_at=1.0, reported=True), None),  # 10
        (None, held(ended_at=1.0, reported=True), None),
    ],
)
def test_the_cases(session: SessionRecord | None, grant: Grant | None, wanted: Do | None) -> None:
    assert decide(session, grant) is wanted


def test_a_session_that_is_missing_for_a_moment_is_kept() -> None:
    assert decide(None, held(), now=FORGOTTEN_SECONDS - 1) is Do.KEEP
    assert decide(None, held(), now=FORGOTTEN_SECONDS + 1) is Do.STOP


@pytest.mark.parametrize("doubt", [{"store": "another"}, {"store": ""}, {"believed": False}, {"sessions": {}}])
def test_a_data_set_in_doubt_stops_nothing(doubt: dict[str, Any]) -> None:
    assert decide(None, held(), **doubt) is Do.KEEP
    if "sessions" not in doubt:
        assert decide(record("STOPPED"), held(), **doubt) is Do.KEEP


statuses = st.sampled_from(list(SessionStatus))
records = st.one_of(st.none(), st.builds(record, statuses, st.sampled_from([None, "n1", "n2"]), refused=st.one_of(st.none(), st.just(WHY))))
grants = st.one_of(
    st.none(), st.builds(held, ended_at=st.one_of(st.none(), st.just(1.0)), reported=st.booleans(), store=st.sampled_from(["s", "t"]))
)


@given(records, grants, st.booleans(), st.booleans())
def test_in_every_world(session: SessionRecord | None, grant: Grant | None, believed: bool, attended: bool) -> None:
    """What runs and is wanted is never stopped; nothing is stopped on the word of a store in doubt; what runs is never left alone."""
    do = decide(session, grant, believed=believed, attended={"svc-1"} if attended else ())
    running = grant is not None and grant.ended_at is None
    wanted = session is not None and session.node == "n1" and session.status in HOLDING
    if do is Do.STOP:
        assert running and not wanted and believed and grant is not None and grant.store == "s"
    if running:
        assert do in (Do.KEEP, Do.DRAIN, Do.STOP)
    if do is Do.DRAIN:
        assert session is not None and session.status is SessionStatus.DRAINING
    if do is Do.GONE:
        assert grant is None and not attended


@pytest.mark.parametrize(
    ("fact", "session", "verb"),
    [
        (Fact(stage=Stage.REFUSED, reason=WHY), record("PLACED"), Verb.REFUSE),
        (Fact(stage=Stage.REFUSED, reason=WHY), record("PLACED", refused=WHY), Verb.DONE),
        (Fact(stage=Stage.REFUSED, reason=WHY), record("DRAINING"), Verb.DONE),
        (Fact(stage=Stage.STARTING), record("PLACED"), Verb.START),
        (Fact(stage=Stage.STARTING, pid=7), record("STARTING"), Verb.REPORT),
        (Fact(stage=Stage.STARTING, pid=7), record("STARTING", pid=7), Verb.WAIT),
        (Fact(stage=Stage.READY, pid=7, address="a"), record("PLACED"), Verb.START),
        (Fact(stage=Stage.READY, pid=7, address="a"), record("STARTING"), Verb.READY),
        (Fact(stage=Stage.READY, pid=7, address="a"), record("READY", pid=7, address="a"), Verb.WAIT),
        (Fact(stage=Stage.READY, pid=8, address="a"), record("LOST", pid=7, address="a"), Verb.REPORT),
        (Fact(stage=Stage.READY, pid=7, address="a"), None, Verb.WAIT),
        (Fact(stage=Stage.ENDED), record("DRAINING"), Verb.STOP),
        (Fact(stage=Stage.ENDED, reason=WHY), record("DRAINING"), Verb.FAIL),
        (Fact(stage=Stage.ENDED, reason=WHY), record("PLACED"), Verb.FAIL),
        (Fact(stage=Stage.ENDED, reason=WHY), record("LOST", pid=7), Verb.REPORT),
        (Fact(stage=Stage.ENDED, reason=WHY), record("LOST", reason=WHY), Verb.WAIT),
        (Fact(stage=Stage.ENDED, reason=WHY), record("FAILED"), Verb.DONE),
        (Fact(stage=Stage.ENDED), None, Verb.DONE),
        (Fact(stage=Stage.ENDED, reason=WHY), record("READY", node="n2"), Verb.DONE),
    ],
)
def test_what_to_say(fact: Fact, session: SessionRecord | None, verb: Verb) -> None:
    assert next_verb(fact, session, "n1") is verb


def test_an_action_says_why_it_stops() -> None:
    actions = converge(
        World(node="n1", store="s", believed=True, sessions={"svc-1": record("STOPPED")}, grants={"svc-1": held()}, missing_since={}), 0.0
    )
    assert actions == [Action("svc-1", Do.STOP, reason=Reason("service_removed", "the store no longer has it on this node"))]
