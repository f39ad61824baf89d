"""The whole control plane on a virtual clock: the real decisions over a model of store and workers, with faults by seed."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from model_variants.registry import load_variants
from scheduler.actions import Action, Create
from scheduler.reconcile import reconcile
from scheduler.snapshot import Snapshot
from scheduler.spec_cache import SpecCache
from stoker.planning.vitals import Watch
from stoker.records import Load
from stoker.states import HOLDING, SessionStatus
from tests.simulation.model_node import ModelNode
from tests.simulation.model_store import ModelStore
from tests.support.drawn import GIB, node, service

_S = SessionStatus
STEP = 0.5
LIVING = (_S.PENDING, _S.PLACED, _S.STARTING, _S.READY)


class World:
    """`step` lets half a second pass: messages arrive, workers work, the scheduler plans; then everything is checked."""

    def __init__(self, seed: int, nodes: int = 3, gpus: int = 2) -> None:
        self.rng = random.Random(seed)
        self.store = ModelStore()
        self.store.now = 1_000.0
        self.late = 0.0
        self._mail: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self.nodes = {f"n{i}": self._node(f"n{i}", gpus) for i in range(nodes)}
        self.specs, self.variants = SpecCache(), load_variants()
        self.loads: dict[str, Load] = {}
        self.active: dict[str, float] = {}
        self.scheduler_back_at = self.store_back_at = 0.0
        self.watched_since: float | None = None
        self.most_shares: dict[str, int] = defaultdict(int)

    @property
    def now(self) -> float:
        return self.store.now

    def _node(self, name: str, gpus: int) -> ModelNode:
        return ModelNode(node(name, gpus=gpus, cpu=8_000, memory=64 * GIB), self.store, self.rng, self.send)

    def send(self, write: Callable[[], object]) -> None:
        """A worker's write: at once, or after a while, when it may be stale."""
        if self.late and self.rng.random() < 0.2:
            self._mail.append((self.now + self.rng.uniform(0, self.late), next(self._numbers), write))
        else:
            write()

    # what users and admins do

    def apply(self, name: str, replicas: object, **spec: Any) -> None:
        old = self.store.services.get(name)
        if old is not None and old.deleted_at is not None:
            return
        words = {"rollout": {"drain_seconds": 5, **spec.pop("rollout", {})}, **spec}
        made = service(name, replicas, spec=words)
        if old is None:
            self.store.services[name] = msgspec.structs.replace(made, created_at=self.now, updated_at=self.now)
            return
        changed = {k: v for k, v in made.spec.items() if k != "replicas"} != {k: v for k, v in old.spec.items() if k != "replicas"}
        revision = old.revision + changed
        self.store.services[name] = msgspec.structs.replace(
            old, spec=made.spec, version=old.version + 1, revision=revision, resolve_at=revision if changed else old.resolve_at,
            updated_at=self.now,
        )  # fmt: skip

    def change(self, name: str, **fields: Any) -> None:
        if name in self.store.services:
            self.store.services[name] = msgspec.structs.replace(self.store.services[name], **fields)

    def mark(self, name: str, **fields: Any) -> None:
        if name in self.store.nodes:
            self.store.nodes[name] = msgspec.structs.replace(self.store.nodes[name], **fields)

    def wish(self, id: str, wish: str) -> None:
        self.store.sessions[id] = msgspec.structs.replace(self.store.sessions[id], wish=wish)

    # time

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.step()

    def step(self) -> None:
        self.store.now += STEP
        if self.now >= self.store_back_at:
            self._deliver()
            for one in self.nodes.values():
                one.step()
            self._plan()
        else:
            self.watched_since = None
        self.check()

    def _deliver(self) -> None:
        due = [mail for mail in self._mail if mail[0] <= self.now]
        self._mail = [mail for mail in self._mail if mail[0] > self.now]
        for _, _, write in sorted(due, key=lambda mail: mail[:2]):
            write()

    def snapshot(self) -> Snapshot:
        if self.watched_since is None:
            self.watched_since = self.now
        watch = Watch(now=self.now, seen=dict(self.store.seen), watched_since=self.watched_since)
        return Snapshot(
            watch=watch, services=dict(self.store.services), sessions=dict(self.store.sessions), nodes=dict(self.store.nodes),
            loads={"r1": dict(self.loads)}, active=dict(self.active),
        )  # fmt: skip

    def actions(self) -> list[Action]:
        snapshot = self.snapshot()
        return reconcile(snapshot, self.specs.read(snapshot.services), self.variants, lambda name: f"{name}-{next(self._numbers)}")

    def _plan(self) -> None:
        """One pass, unless no scheduler runs; it may be killed between any two writes, and workers may write in between."""
        if self.now < self.scheduler_back_at:
            self.watched_since = None
            return
        actions = self.actions()
        disturbed = bool(self.late) and self.rng.random() < 0.3
        if disturbed:
            for one in self.nodes.values():
                one.step()
        taken = [self.store.carry(action) for action in actions]
        if disturbed:
            return
        assert all(taken), [action for action, ok in zip(actions, taken, strict=True) if not ok]
        self.check_pass({action.session.service for action in actions if isinstance(action, Create)})
        if actions and self.rng.random() < 0.3:
            self._settles()

    def _settles(self) -> None:
        """Who makes room lets others be made; more than two passes at one moment would be flapping."""
        for _ in range(2):
            for action in self.actions():
                assert self.store.carry(action), action
        assert not (again := self.actions()), f"a plan that was carried out leaves nothing to do, not {again}"

    def kill_scheduler(self, seconds: float) -> None:
        """In the middle of its writes; another one leads after a while and knows nothing but the store."""
        actions = self.actions() if self.now >= max(self.scheduler_back_at, self.store_back_at) else []
        for action in actions[: self.rng.randint(0, len(actions))]:
            self.store.carry(action)
        self.scheduler_back_at = self.now + seconds
        self.watched_since = None

    # what must hold

    def check(self) -> None:
        """After every step: no share, byte or core is sold twice, by the store's book and by every node's own."""
        for name, known in self.store.nodes.items():
            held = [s for s in self.store.sessions.values() if s.status in HOLDING and s.node == name and s.assignment]
            shares: dict[str, int] = defaultdict(int)
            memory: dict[str, int] = defaultdict(int)
            for one in held:
                assert one.assignment is not None
                for part in one.assignment.gpus:
                    shares[part.device] += part.share
                    memory[part.device] += part.memory
            sizes = {device.id: device.memory for device in known.gpus}
            assert all(share <= 100 for share in shares.values()), (name, held)
            assert all(size <= sizes[device] for device, size in memory.items()), (name, held)
            assert sum(one.assignment.resolution.cpu for one in held if one.assignment) <= known.cpu, name

    def check_pass(self, grown: set[str]) -> None:
        """After a whole pass: numbers within bounds, a reason for all that wait, nobody made twice."""
        for name, one in self.store.services.items():
            replicas = one.spec["replicas"]
            least, most = (replicas["min"], replicas["max"]) if isinstance(replicas, dict) else (replicas, replicas)
            if one.deleted_at is None:
                assert least <= one.wanted <= most, name
            mine = [s for s in self.store.sessions.values() if s.service == name and s.status in LIVING and s.wish is None]
            leaving = {n.name for n in self.store.nodes.values() if n.draining_until is not None}
            current = [s for s in mine if s.status is _S.PENDING or (s.revision == one.revision and s.node not in leaving)]
            assert len(current) <= (one.wanted if one.deleted_at is None else 0), (name, current)
            surge = one.spec["rollout"].get("max_surge", 1)
            assert name not in grown or len(mine) <= one.wanted + surge, (name, mine)
            assert all(s.reason is not None for s in mine if s.status is _S.PENDING), (name, mine)

    def unsettled(self) -> list[str]:
        """What is not as wanted; empty once everything has converged. Without room, an old revision serves on (if_no_room: wait)."""
        said = []
        for name, one in self.store.services.items():
            mine = [s for s in self.store.sessions.values() if s.service == name and s.status not in (_S.STOPPED, _S.FAILED)]
            ready = [s for s in mine if s.status is _S.READY and s.revision == one.revision]
            pending = [s for s in mine if s.status is _S.PENDING and s.reason is not None and s.reason.code == "no_fit"]
            waiting = [s for s in mine if s.status is _S.READY and s not in ready] if pending and len(self.nodes) > 1 else []
            enough = len(ready) + len(waiting) >= one.wanted if waiting else len(ready) + len(pending) == one.wanted
            if one.deleted_at is not None or not enough or len(mine) != len(ready) + len(pending) + len(waiting):
                there = [(s.id, s.status, s.revision, s.node, s.reason) for s in mine]
                said.append(f"{name} wants {one.wanted}: {there} {one.reason} {one.backoff}")
        for name, machine in self.nodes.items():
            booked = {s.id for s in self.store.sessions.values() if s.node == name and s.status in HOLDING}
            if booked != set(machine.running):
                said.append(f"{name} runs {set(machine.running)}, the store says {booked}")
        return said
