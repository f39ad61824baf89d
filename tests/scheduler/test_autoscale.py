"""How many sessions: fixed numbers, zero and back, and no change without data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.autoscale import Demand, demand_of, last_request, wanted
from stoker.records import Load
from stoker.specs import ServiceSpec
from tests.support.drawn import NOW, service

QUIET = (Load(),)
BUSY = (Load(), Load(in_flight=1))
WAITING = (Load(waiting=3),)


def count(replicas: object, previous: int, demand: Demand, *, woken_at: float = 0.0, **autoscaling: Any) -> int:
    record = service(replicas=replicas, spec={"autoscaling": autoscaling} if autoscaling else {}, wanted=previous, woken_at=woken_at)
    return wanted(ServiceSpec.from_json(record.spec), record, demand, NOW)[0]


@pytest.mark.parametrize("n", [0, 1, 7])
def test_a_number_is_a_number(n: int) -> None:
    assert count(n, 3, Demand(loads=BUSY)) == n


def test_min_is_kept() -> None:
    assert count({"min": 2, "max": 5}, 0, Demand(loads=None)) == 2


@pytest.mark.parametrize(
    ("demand", "woken_at", "expected"),
    [
        (Demand(loads=QUIET), 0.0, 0),
        (Demand(loads=None), 0.0, 0),
        (Demand(loads=WAITING), 0.0, 1),
        (Demand(loads=BUSY), 0.0, 1),
        (Demand(loads=QUIET), NOW - 0.1, 1),
        (Demand(loads=None), NOW - 0.1, 1),
        (Demand(loads=QUIET), NOW - 61, 0),
        (Demand(loads=QUIET, watched_since=NOW), 0.0, 0),
        (Demand(loads=QUIET, active_at=NOW - 1), 0.0, 0),
    ],
)
def test_asleep_it_wakes_for_a_request_only(demand: Demand, woken_at: float, expected: int) -> None:
    assert count({"min": 0, "max": 3}, 0, demand, woken_at=woken_at) == expected


@pytest.mark.parametrize(
    ("demand", "expected", "why"),
    [
        (Demand(loads=QUIET), 0, "nobody asked for long"),
        (Demand(loads=BUSY), 1, "a request is answered"),
        (Demand(loads=WAITING), 1, "a request waits"),
        (Demand(loads=None), 1, "no router lives: no data, no change"),
        (Demand(loads=QUIET, starting=True), 1, "a start under way is finished"),
        (Demand(loads=QUIET, active_at=NOW - 29), 1, "asked lately"),
        (Demand(loads=QUIET, active_at=NOW - 30), 0, "asked too long ago"),
        (Demand(loads=QUIET, watched_since=NOW - 29), 1, "this scheduler could not have seen it"),
    ],
)
def test_awake_it_sleeps_only_when_surely_idle(demand: Demand, expected: int, why: str) -> None:
    assert count({"min": 0, "max": 3}, 1, demand, idle_seconds=30) == expected, why


def test_idle_null_and_disabled_never_sleep() -> None:
    assert count({"min": 0, "max": 3}, 1, Demand(loads=QUIET), idle_seconds=None) == 1
    assert count({"min": 0, "max": 3}, 1, Demand(loads=QUIET), enabled=False) == 1


def test_loads_of_all_routers_count() -> None:
    loads = {"r1": {"s": Load(last_request_at=5.0)}, "r2": {"s": Load(in_flight=2, last_request_at=9.0)}, "r3": {}}
    assert demand_of("s", loads) == (Load(last_request_at=5.0), Load(in_flight=2, last_request_at=9.0), Load())
    assert demand_of("s", {}) is None and last_request("s", loads) == 9.0 and last_request("x", loads) == 0.0


@given(
    least=st.integers(0, 5), more=st.integers(0, 5), previous=st.integers(0, 10), flight=st.integers(0, 3),
    active=st.floats(0, NOW), woken=st.floats(0, NOW), starting=st.booleans(), routers=st.integers(0, 2),
)  # fmt: skip
def test_always_between_min_and_max(
    least: int, more: int, previous: int, flight: int, active: float, woken: float, starting: bool, routers: int
) -> None:
    most = max(1, least + more)
    demand = Demand(loads=(Load(in_flight=flight),) * routers if routers else None, active_at=active, starting=starting)
    assert least <= count({"min": least, "max": most}, previous, demand, woken_at=woken) <= most
