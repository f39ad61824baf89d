"""Leases and the queue: whatever happens in whatever order, what is in flight returns to nothing and nobody is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from router.admission import Admission, Waiter
from router.directory import Directory
from router.route import FAILURES_TO_EJECT, Lease, Outcome, Route
from stoker.errors import QueueFull, StokerError
from stoker.records import Assignment, Resolution, ServiceRecord, SessionRecord
from stoker.states import SessionStatus


class Records:
    """What the directory reads of a mirror."""

    def __init__(self) -> None:
        self.services: dict[str, ServiceRecord] = {}
        self.sessions: dict[str, SessionRecord] = {}

    def listen(self, listener: Any) -> None:
        self.tell = listener

    def session(self, id: str, status: SessionStatus) -> None:
        made = Assignment(revision=1, resolution=Resolution(variant="demo", why="", runtime="process"), spec={})
        record = SessionRecord(
            id=id, service="s", project="default", revision=1, status=status, assignment=made, address=f"127.0.0.1:{len(id)}000"
        )
        self.sessions[id] = record
        self.tell("session", id, record)


def _made(queue: int = 5, limit: int = 2) -> tuple[Records, Directory, Admission, list[float], list[str]]:
    records, clock, woken = Records(), [100.0], []
    spec = {"name": "s", "model": "demo", "routing": {"queue": queue, "queue_timeout": 60, "max_concurrency": limit}}
    directory = Directory(records, b"k" * 32, lambda: clock[0])  # type: ignore[arg-type]
    admission = Admission(directory, lambda: clock[0], woken.append)
    records.services["s"] = ServiceRecord(name="s", project="default", owner="t", spec=spec)
    records.tell("service", "s", records.services["s"])
    return records, directory, admission, clock, woken


_STATUSES = (SessionStatus.STARTING, SessionStatus.READY, SessionStatus.DRAINING, SessionStatus.FAILED)


class Machine(RuleBasedStateMachine):
    leases = Bundle("leases")
    waiters = Bundle("waiters")

    def __init__(self) -> None:
        super().__init__()
        self.records, self.directory, self.admission, self.clock, self.woken = _made()
        self.service = self.directory.services["s"]
        self.open: list[Lease] = []
        self.queued: list[Waiter] = []
        self.answered: dict[int, int] = {}

    @rule(target=leases)
    def ask(self) -> Any:
        lease = self.admission.try_lease(self.service)
        if lease is not None:
            self.open.append(lease)
        return lease

    @rule(target=waiters)
    def queue_up(self) -> Any:
        lease = self.admission.try_lease(self.service)
        if lease is not None:
            self.open.append(lease)
            return None
        number = len(self.answered)
        self.answered[number] = 0

        def answer(result: Lease | StokerError) -> None:
            self.answered[number] += 1
            self.queued[:] = [waiter for waiter in self.queued if waiter.answer is not None]
            if isinstance(result, Lease):
                self.open.append(result)

        try:
            waiter = self.admission.wait(self.service, answer)
        except QueueFull:
            assert self.admission.waiting("s") == 5
            return None
        self.queued.append(waiter)
        return waiter

    @rule(outcome=st.sampled_from(Outcome))
    def end_one(self, outcome: Outcome) -> None:
        if self.open:
            self.admission.release(self.open.pop(0), outcome)

    @rule(waiter=consumes(waiters))
    def leave(self, waiter: Waiter | None) -> None:
        if waiter is not None and waiter in self.queued:
            self.queued.remove(waiter)
            self.admission.leave(waiter)

    @rule(
        number=st.integers(1, 3),
        status=st.sampled_from([SessionStatus.STARTING, SessionStatus.READY, SessionStatus.DRAINING, SessionStatus.FAILED]),
    )
    def session(self, number: int, status: SessionStatus) -> None:
        self.records.session("s" * number, status)

    @rule(seconds=st.floats(0, 40))
    def time_goes_by(self, seconds: float) -> None:
        self.clock[0] += seconds
        self.admission.tick(self.clock[0])

    @invariant()
    def leases_are_what_is_in_flight(self) -> None:
        routes = {lease.route for lease in self.open} | {*self.directory.routes.values()}
        assert sum(route.in_flight for route in routes) == len(self.open)
        assert all(route.in_flight <= 2 for route in routes)

    @invariant()
    def nobody_is_answered_twice_and_the_queue_is_who_waits(self) -> None:
        assert all(count <= 1 for count in self.answered.values())
        assert self.admission.waiting("s") == len(self.queued) <= 5

    @invariant()
    def room_is_used_at_once(self) -> None:
        assert not self.queued or not any(route.is_open(self.clock[0]) for route in self.service.routes)

    def teardown(self) -> None:
        while self.open:
            self.admission.release(self.open.pop(), Outcome.FINE)
        routes = [*self.directory.routes.values(), *self.directory.draining.values()]
        assert sum(route.in_flight for route in routes) == 0


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLeases = Machine.TestCase


def test_a_lease_ends_once() -> None:
    records, directory, admission, _, _ = _made()
    records.session("s", SessionStatus.READY)
    lease = admission.try_lease(directory.services["s"])
    assert lease is not None
    admission.release(lease, Outcome.FINE)
    with pytest.raises(KeyError):
        admission.release(lease, Outcome.FINE)


def test_one_wake_for_all_who_wait_and_another_when_nothing_comes_of_it() -> None:
    records, directory, admission, clock, woken = _made()
    for _ in range(5):
        admission.wait(directory.services["s"], lambda result: None)
    assert woken == ["s"]
    clock[0] += 6
    admission.tick(clock[0])
    assert woken == ["s", "s"]
    records.session("s", SessionStatus.STARTING)
    clock[0] += 6
    admission.tick(clock[0])
    assert woken == ["s", "s"]


def _two_routes() -> tuple[Admission, Route, Route, list[float]]:
    records, directory, admission, clock, _ = _made(limit=100)
    for id in ("s", "ss"):
        records.session(id, SessionStatus.READY)
    return admission, directory.routes["s"], directory.routes["ss"], clock


def _use(route: Route, outcome: Outcome, clock: list[float], admission: Admission, trial: bool = False) -> None:
    lease = Lease(route, clock[0], trial)
    route.leases.add(lease)
    if trial:
        route.trial = lease
    admission.release(lease, outcome)


def test_failures_in_a_row_eject_and_one_trial_brings_back() -> None:
    admission, bad, good, clock = _two_routes()
    for _ in range(FAILURES_TO_EJECT - 1):
        _use(bad, Outcome.ERROR, clock, admission)
    _use(bad, Outcome.FINE, clock, admission)
    for _ in range(FAILURES_TO_EJECT):
        assert bad.is_open(clock[0])
        _use(bad, Outcome.ERROR, clock, admission)
    assert not bad.is_open(clock[0]) and bad.health(clock[0]) == "unhealthy" and good.is_open(clock[0])
    clock[0] += 5
    assert bad.health(clock[0]) == "probing"
    leases = [admission.try_lease(bad.service, exclude=(good,)) for _ in range(2)]
    assert leases[0] is not None and leases[0].trial and leases[1] is None
    admission.release(leases[0], Outcome.BROKEN)
    clock[0] += 5
    assert not bad.is_open(clock[0]), "the second pause is longer"
    clock[0] += 5
    trial = admission.try_lease(bad.service, exclude=(good,))
    assert trial is not None
    admission.release(trial, Outcome.FINE)
    assert bad.health(clock[0]) == "healthy"


def test_the_last_route_is_never_ejected_and_clients_who_leave_say_nothing() -> None:
    admission, first, second, clock = _two_routes()
    _use(first, Outcome.UNREACHABLE, clock, admission)
    assert not first.is_open(clock[0])
    for _ in range(20):
        _use(second, Outcome.UNREACHABLE, clock, admission)
    assert second.is_open(clock[0])
    clock[0] += 1000
    _use(first, Outcome.FINE, clock, admission, trial=True)
    for _ in range(20):
        _use(first, Outcome.LEFT, clock, admission)
    assert first.is_open(clock[0])
