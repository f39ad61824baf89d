"""Any sequence of calls by schedulers, workers and admins, old leaders among them, against a model of the table."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from stoker.errors import Conflict, NotFound, Refused, StaleLeader
from stoker.records import Reason, SessionRecord
from stoker.states import TERMINAL, Owner, SessionStatus, owner_of
from stoker.store.store import Store
from tests.support.cluster import ASSIGNMENT, session_record

S = SessionStatus
WHY = Reason("no_fit", "there is no room")
IDS, NODES = st.sampled_from(["x-1", "x-2"]), st.sampled_from(["n1", "n2"])

LEADERS: dict[str, tuple[SessionStatus, Callable[[Store, SessionRecord, int], Awaitable[object]]]] = {
    "unplace": (S.PENDING, lambda v, s, e: v.sessions.unplace(s, WHY, epoch=e)),
    "drain": (S.DRAINING, lambda v, s, e: v.sessions.drain(s, WHY, 1.0, epoch=e)),
    "lose": (S.LOST, lambda v, s, e: v.sessions.lose(s, WHY, epoch=e)),
    "recover": (S.READY, lambda v, s, e: v.sessions.recover(s, epoch=e)),
}
WORKERS: dict[str, tuple[SessionStatus, Callable[[Store, SessionRecord, str], Awaitable[object]]]] = {
    "start": (S.STARTING, lambda v, s, n: v.sessions.start(s, node=n)),
    "ready": (S.READY, lambda v, s, n: v.sessions.ready(s, "h:1", node=n)),
    "sleep": (S.ASLEEP, lambda v, s, n: v.sessions.sleep(s, node=n)),
    "fail": (S.FAILED, lambda v, s, n: v.sessions.fail(s, WHY, node=n)),
    "stop": (S.STOPPED, lambda v, s, n: v.sessions.stop(s, node=n)),
}


class SessionTable(RuleBasedStateMachine):
    """The model: status and node per session, and the newest epoch. The store must agree after every step."""

    url = ""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.store = self.runner.run(Store.open(self.url, f"t{secrets.token_hex(4)}"))
        self.mirror = self.store.mirror("session")
        self.runner.run(self.mirror.open())
        self.model: dict[str, tuple[SessionStatus, str | None]] = {}
        self.epoch = 0
        self.claim()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.store.close())
            self.runner.close()

    def call(self, expected: type[Exception] | None, work: Awaitable[object]) -> None:
        async def run() -> object:
            return await work

        if expected is None:
            self.runner.run(run())
        else:
            with pytest.raises(expected):
                self.runner.run(run())

    def verdict(self, id: str, to: SessionStatus, owner: Owner, late: bool, node: str | None = None) -> type[Exception] | None:
        if id not in self.model:
            return NotFound
        if late:
            return StaleLeader
        status, placed = self.model[id]
        fits = owner_of(status, to) is owner and (node is None or node == placed)
        return None if fits else Refused

    @rule()
    def claim(self) -> None:
        async def change() -> int:
            holder = await self.store.leadership.leader()
            if holder is not None:
                await self.store.leadership.resign(holder)
            return (await self.store.leadership.claim(secrets.token_hex(4), 60)).epoch

        epoch = self.runner.run(change())
        assert epoch == self.epoch + 1
        self.epoch = epoch

    @rule(id=IDS, late=st.booleans())
    def create(self, id: str, late: bool) -> None:
        expected = Conflict if id in self.model else StaleLeader if late else None
        self.call(expected, self.store.sessions.create(session_record(id, node=None), epoch=self.epoch - late))
        if expected is None:
            self.model[id] = (S.PENDING, None)

    @rule(id=IDS, node=NODES, late=st.booleans())
    def place(self, id: str, node: str, late: bool) -> None:
        expected = self.verdict(id, S.PLACED, Owner.SCHEDULER, late)
        self.call(expected, self.store.sessions.place(session_record(id), node, ASSIGNMENT, epoch=self.epoch - late))
        if expected is None:
            self.model[id] = (S.PLACED, node)

    @rule(id=IDS, verb=st.sampled_from(sorted(LEADERS)), late=st.booleans())
    def lead(self, id: str, verb: str, late: bool) -> None:
        to, call = LEADERS[verb]
        expected = self.verdict(id, to, Owner.SCHEDULER, late)
        self.call(expected, call(self.store, session_record(id), self.epoch - late))
        if expected is None:
            self.model[id] = (to, None if verb == "unplace" else self.model[id][1])

    @rule(id=IDS, verb=st.sampled_from(["withdraw", "write_off"]))
    def end(self, id: str, verb: str) -> None:
        origin = S.PENDING if verb == "withdraw" else S.LOST
        expected = NotFound if id not in self.model else None if self.model[id][0] is origin else Refused
        self.call(expected, getattr(self.store.sessions, verb)(session_record(id), WHY, epoch=self.epoch))
        if expected is None:
            self.model[id] = (S.STOPPED, self.model[id][1])

    @rule(id=IDS, verb=st.sampled_from(sorted(WORKERS)), node=NODES)
    def work(self, id: str, verb: str, node: str) -> None:
        to, call = WORKERS[verb]
        expected = self.verdict(id, to, Owner.WORKER, False, node)
        self.call(expected, call(self.store, session_record(id), node))
        if expected is None:
            self.model[id] = (to, node)

    @rule(id=IDS)
    def prune(self, id: str) -> None:
        expected = NotFound if id not in self.model else None if self.model[id][0] in TERMINAL else Refused
        self.call(expected, self.store.sessions.prune(id, epoch=self.epoch))
        if expected is None:
            del self.model[id]

    @invariant()
    def the_store_and_a_mirror_that_catches_up_agree(self) -> None:
        async def look() -> dict[str, Any]:
            target = int(await self.store.database.client.get(self.store.database.keys.feed_version()) or 0)
            while self.mirror.version < target:
                await self.mirror._step()
            return await self.store.sessions.all()

        found = self.runner.run(look())
        assert {id: (session.status, session.node) for id, session in found.items()} == self.model
        assert self.mirror.sessions == found


def test_the_table_holds_under_any_sequence(redis_url: str) -> None:
    SessionTable.url = redis_url
    run_state_machine_as_test(
        SessionTable,
        settings=settings(max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)),
    )
