"""A model of a worker and its machine: a journal with the last word, processes that outlive a partition, and reboots."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from stoker.records import DeviceShare, NodeRecord, Reason, SessionRecord
from stoker.states import TERMINAL, SessionStatus
from tests.simulation.model_store import ModelStore

_S = SessionStatus
Send = Callable[[Callable[[], object]], None]


class Process:
    """One engine: ready at a time, and dead at a time with a code (never, if None)."""

    def __init__(self, gpus: tuple[DeviceShare, ...], ready_at: float, dies_at: float | None, code: str) -> None:
        self.gpus, self.ready_at, self.dies_at, self.code = gpus, ready_at, dies_at, code


class ModelNode:
    """`connected`: the store can be reached. `up`: the machine runs. `send` delivers a write, now or later."""

    def __init__(self, record: NodeRecord, store: ModelStore, rng: random.Random, send: Send) -> None:
        self.record, self.store, self.rng, self.send = record, store, rng, send
        self.connected = self.up = True
        self.boot = 0
        self.running: dict[str, Process] = {}
        self.bad_starts: list[str] = []
        self.refusals: list[str] = []
        self.start_seconds = (1.0, 4.0)
        self.fail_after: float | None = None
        self.register()

    @property
    def name(self) -> str:
        return self.record.name

    def register(self) -> None:
        self.store.register(msgspec.structs.replace(self.record, boot_id=f"{self.name}-boot{self.boot}"))

    def crash(self) -> None:
        """The machine stops; nothing of it is left."""
        self.up = False
        self.running.clear()

    def boot_up(self) -> None:
        self.up = True
        self.boot += 1

    def step(self) -> None:
        if not self.up:
            return
        if not self.connected:
            return
        if self.name not in self.store.nodes or self.store.nodes[self.name].boot_id != f"{self.name}-boot{self.boot}":
            self.register()
        self.store.seen[self.name] = self.store.now
        for session in [one for one in self.store.sessions.values() if one.node == self.name]:
            self._converge(session)
        for id in list(self.running):
            known = self.store.sessions.get(id)
            if known is None or known.status in TERMINAL or known.node != self.name:
                del self.running[id]  # nobody's: the worker stops what the store has written off

    def _converge(self, session: SessionRecord) -> None:
        process = self.running.get(session.id)
        dead = process is None or (process.dies_at is not None and process.dies_at <= self.store.now)
        if session.status is _S.PLACED and session.refused is None:
            self._grant(session)
        elif session.status is _S.STARTING and dead:
            self._fail(session, process)
        elif session.status is _S.STARTING and process is not None and process.ready_at <= self.store.now:
            self.send(lambda: self.store.work(self.name, session.id, _S.READY, address="h:1", ready_at=self.store.now, reason=None))
        elif session.status is _S.READY and dead:
            self._fail(session, process)
        elif session.status is _S.DRAINING:
            self._drain(session)
        elif session.status is _S.LOST:
            self.send(lambda: self.store.report(self.name, session.id, address=None if dead else session.address))

    def _grant(self, session: SessionRecord) -> None:
        assert session.assignment is not None
        gpus = session.assignment.gpus
        if session.id not in self.running:
            code = self.refusals.pop() if self.refusals else None if self._is_free(gpus) else "held_by"
            if code is not None:
                self.send(lambda: self.store.refuse(self.name, session.id, Reason(code, "not now")))
                return
            takes = self.rng.uniform(*self.start_seconds)
            bad = self.bad_starts.pop() if self.bad_starts else ""
            after = self.fail_after if self.fail_after is not None else takes * 0.9
            dies = self.store.now + after if bad else None
            self.running[session.id] = Process(gpus, self.store.now + takes, dies, bad or "start_exit")
        self.send(lambda: self.store.work(self.name, session.id, _S.STARTING, started_at=self.store.now))

    def _is_free(self, gpus: tuple[DeviceShare, ...]) -> bool:
        held: dict[str, int] = {}
        for process in self.running.values():
            for part in process.gpus:
                held[part.device] = held.get(part.device, 0) + part.share
        return all(held.get(part.device, 0) + part.share <= 100 for part in gpus)

    def _fail(self, session: SessionRecord, process: Process | None) -> None:
        code = process.code if process else "node_lost"
        self.running.pop(session.id, None)
        self.send(
            lambda: self.store.work(self.name, session.id, _S.FAILED, reason=Reason(code, f"{code} happened"), ended_at=self.store.now)
        )

    def _drain(self, session: SessionRecord) -> None:
        empty = self.store.now - (session.draining_at or 0.0) >= self.rng.choice((1.0, 60.0))
        if session.id in self.running and not empty and self.store.now < (session.drain_until or 0.0):
            return
        self.running.pop(session.id, None)
        self.send(lambda: self.store.work(self.name, session.id, _S.STOPPED, ended_at=self.store.now))
