"""The status of a service, from its record and its sessions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.records import Backoff, HealthCheck, Reason, Resolution, ServiceRecord, SessionRecord
from stoker.states import COMING, ServiceStatus, SessionStatus
from stoker.status import is_stopped, least, most, summarise

NOW = 10_000.0
S, V = SessionStatus, ServiceStatus
NO_ROOM = Reason("no_fit", "3 nodes: 2 lack 40GiB of free GPU memory, 1 is cordoned")
CRASH = Reason("start_exit", "exit code 1: no such file")


def service(replicas: object = 1, wanted: int = 0, **more: Any) -> ServiceRecord:
    spec = {"name": "x", "model": "demo", "replicas": replicas}
    return ServiceRecord(name="x", project="default", owner="me", spec=spec, wanted=wanted, **more)


def session(status: SessionStatus, age: float = 5.0, **more: Any) -> SessionRecord:
    return SessionRecord(id="x-1", service="x", project="default", revision=1, status=status, created_at=NOW - age, **more)


RANGE = {"min": 0, "max": 8}
GAVE_UP = Backoff(failures=5, gave_up=True, last=CRASH)
READY, STARTING, PENDING = session(S.READY), session(S.STARTING), session(S.PENDING)
TABLE: list[tuple[str, ServiceRecord, list[SessionRecord], ServiceStatus, str | None]] = [
    ("deleted, sessions left", service(1, 1, deleted_at=NOW), [READY], V.STOPPING, "stopped_by_user"),
    ("replicas 0", service(0), [], V.STOPPED, "stopped_by_user"),
    ("replicas 0, one still drains", service(0), [session(S.DRAINING)], V.STOPPED, "stopped_by_user"),
    ("replicas 0 after a crash loop", service(0, backoff=GAVE_UP), [], V.STOPPED, "stopped_by_user"),
    ("asleep", service(RANGE), [], V.IDLE, None),
    ("going to sleep", service(RANGE), [session(S.DRAINING)], V.IDLE, None),
    ("asleep, ended ones are kept", service(RANGE), [session(S.STOPPED), session(S.FAILED)], V.IDLE, None),
    ("woken, not yet started", service(RANGE, 1), [], V.PROVISIONING, None),
    ("woken, starting", service(RANGE, 1), [STARTING], V.PROVISIONING, None),
    ("just applied, not yet looked at", service(1), [], V.PROVISIONING, None),
    ("no room", service(1, 1), [session(S.PENDING, reason=NO_ROOM)], V.PROVISIONING, "no_fit"),
    ("the service's own reason", service(1, 1, reason=Reason("model_missing", "no node has it")), [], V.PROVISIONING, "model_missing"),
    ("failed once, tries again", service(1, 1, backoff=Backoff(failures=1, last=CRASH)), [], V.PROVISIONING, "start_exit"),
    ("as wanted", service(2, 2), [READY, READY], V.HEALTHY, None),
    ("more than wanted", service(1, 1), [READY, READY], V.HEALTHY, None),
    ("scaled up, not yet looked at", service(3, 1), [READY], V.DEGRADED, None),
    ("scaled down, not yet looked at", service(1, 3), [READY], V.HEALTHY, None),
    ("one of two", service(2, 2), [READY, STARTING], V.DEGRADED, None),
    ("one of two, no room for the other", service(2, 2), [READY, session(S.PENDING, reason=NO_ROOM)], V.DEGRADED, "no_fit"),
    ("grows by the autoscaler", service(RANGE, 3), [READY, STARTING, PENDING], V.HEALTHY, None),
    ("should grow, finds no room", service(RANGE, 2), [READY, session(S.PENDING, reason=NO_ROOM)], V.DEGRADED, "no_fit"),
    ("should grow, takes too long", service(RANGE, 2), [READY, session(S.STARTING, 1801)], V.DEGRADED, None),
    ("should grow, and fails", service(RANGE, 2, backoff=Backoff(failures=2, last=CRASH)), [READY, STARTING], V.DEGRADED, "start_exit"),
    ("grows from below min", service({"min": 2, "max": 8}, 3), [READY, STARTING, STARTING], V.DEGRADED, None),
    ("given up", service(1, 1, backoff=GAVE_UP), [], V.UNHEALTHY, "crash_loop"),
    ("given up at min 0", service(RANGE, 0, backoff=GAVE_UP), [], V.UNHEALTHY, "crash_loop"),
    ("given up, one lives", service(2, 2, backoff=GAVE_UP), [READY], V.DEGRADED, "crash_loop"),
    (
        "another one's sessions",
        service(1, 1),
        [SessionRecord(id="y-1", service="y", project="p", revision=1, status=S.READY)],
        V.PROVISIONING,
        None,
    ),
    ("asked to leave", service(1, 1), [session(S.READY, wish="stop")], V.PROVISIONING, None),
    ("asleep on its GPU", service(RANGE), [session(S.ASLEEP)], V.IDLE, None),
    ("lost", service(1, 1), [session(S.LOST)], V.PROVISIONING, None),
]


@pytest.mark.parametrize(("record", "sessions", "status", "code"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_status(record: ServiceRecord, sessions: list[SessionRecord], status: ServiceStatus, code: str | None) -> None:
    summary = summarise(record, sessions, NOW)
    assert (summary.status, summary.reason.code if summary.reason else None) == (status, code)


def test_the_start_timeout_is_the_resolutions() -> None:
    resolved = Resolution(variant="demo", why="", runtime="process", health=HealthCheck(start_timeout=60))
    record = service(RANGE, 2, resolved=resolved)
    assert summarise(record, [READY, session(S.STARTING, 59)], NOW).status is V.HEALTHY
    assert summarise(record, [READY, session(S.STARTING, 61)], NOW).status is V.DEGRADED
    assert summarise(record, [READY, session(S.STARTING, 61)], NOW, 100).status is V.HEALTHY


def test_the_start_time_begins_with_the_place() -> None:
    waited_long = session(S.STARTING, 5000, placed_at=NOW - 5)
    assert summarise(service(RANGE, 2), [READY, waited_long], NOW).status is V.HEALTHY


def test_a_crash_loop_says_what_failed_and_what_to_type() -> None:
    starts = summarise(service(1, 1, backoff=GAVE_UP), [], NOW).reason
    exits = summarise(service(1, 1, backoff=Backoff(exits=(1.0,) * 5, gave_up=True)), [], NOW).reason
    assert starts and starts.message.startswith("5 starts in a row failed (the last: exit code 1")
    assert exits and exits.message.startswith("it ended unasked 5 times in 10 minutes")
    assert starts.message.endswith("stoker service restart x")


@pytest.mark.parametrize(("replicas", "bounds"), [(0, (0, 0)), (3, (3, 3)), (RANGE, (0, 8)), ({"min": 0}, (0, 1)), ({"max": 4}, (1, 4))])
def test_bounds(replicas: object, bounds: tuple[int, int]) -> None:
    record = service(replicas)
    assert (least(record), most(record), is_stopped(record)) == (*bounds, bounds[1] == 0)


ranges = st.tuples(st.integers(0, 5), st.integers(1, 5)).map(lambda pair: {"min": min(pair), "max": max(pair)})
records = st.builds(
    service,
    replicas=st.integers(0, 5) | ranges,
    wanted=st.integers(0, 6),
    deleted_at=st.none() | st.just(NOW),
    reason=st.none() | st.just(NO_ROOM),
    backoff=st.builds(Backoff, failures=st.integers(0, 6), gave_up=st.booleans(), last=st.none() | st.just(CRASH)),
)
session_lists = st.lists(st.builds(session, st.sampled_from(S), st.floats(0, 4000), reason=st.none() | st.just(NO_ROOM)), max_size=8)


@given(records, session_lists)
def test_a_status_says_only_what_is_so(record: ServiceRecord, sessions: list[SessionRecord]) -> None:
    status, ready, wanted, reason = summarise(record, sessions, NOW)
    assert ready == sum(s.status is S.READY for s in sessions)
    assert (status is V.STOPPING) == (record.deleted_at is not None)
    if status in (V.HEALTHY, V.DEGRADED):
        assert ready > 0
    if status in (V.IDLE, V.UNHEALTHY, V.PROVISIONING):
        assert ready == 0
    if status is V.HEALTHY:
        assert ready >= max(1, least(record)) and reason is None
    if status is V.IDLE:
        assert least(record) == 0 and not any(s.status in COMING for s in sessions)
    if status in (V.STOPPING, V.STOPPED, V.UNHEALTHY):
        assert reason is not None
    if status not in (V.STOPPING, V.STOPPED):
        assert least(record) <= wanted <= max(most(record), 1)


@given(records, session_lists)
def test_one_more_ready_never_makes_it_worse(record: ServiceRecord, sessions: list[SessionRecord]) -> None:
    order = [V.UNHEALTHY, V.IDLE, V.PROVISIONING, V.DEGRADED, V.HEALTHY]
    before, after = summarise(record, sessions, NOW), summarise(record, [*sessions, READY], NOW)
    if before.status in order:
        assert order.index(after.status) >= order.index(before.status)
