"""Bad luck by seed: what may happen in any second, and how it ends."""

from __future__ import annotations

from collections.abc import Callable

from stoker.states import SessionStatus
from tests.simulation.model_world import World

_S = SessionStatus
CRASHES = ("start_exit", "out_of_memory", "start_timeout")
SURROUNDINGS = ("image_pull", "disk_full", "gpu_fault", "port_taken")


class Faults:
    """`strike` lets one thing happen; `heal` ends everything that would end by itself or by an operator."""

    def __init__(self, world: World) -> None:
        self.world, self.rng = world, world.rng
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self._kinds: tuple[Callable[[], None], ...] = (
            self._engine_dies, self._engine_dies, self._start_fails, self._node_silent, self._node_reboots, self._store_away,
            self._scheduler_dies, self._grant_refused, self._scaled, self._new_revision, self._deleted, self._wished, self._cordoned,
            self._drained, self._written_off, self._woken,
        )  # fmt: skip

    def strike(self) -> None:
        self.rng.choice(self._kinds)()

    def pass_second(self) -> None:
        due = [end for at, end in self._ends if at <= self.world.now]
        self._ends = [(at, end) for at, end in self._ends if at > self.world.now]
        for end in due:
            end()

    def heal(self) -> None:
        for _, end in self._ends:
            end()
        self._ends = []
        world = self.world
        world.late = 0.0
        world.store_back_at = world.scheduler_back_at = world.now
        for node in world.nodes.values():
            node.bad_starts.clear()
            node.refusals.clear()

    def _later(self, low: float, high: float, end: Callable[[], None]) -> None:
        self._ends.append((self.world.now + self.rng.uniform(low, high), end))

    def _engine_dies(self) -> None:
        processes = [process for node in self.world.nodes.values() for process in node.running.values()]
        if processes:
            process = self.rng.choice(processes)
            process.dies_at, process.code = self.world.now, self.rng.choice(CRASHES)

    def _start_fails(self) -> None:
        self._node().bad_starts.append(self.rng.choice(CRASHES + SURROUNDINGS))

    def _node_silent(self) -> None:
        node = self._node()
        node.connected = False
        self._later(2, 40, lambda: setattr(node, "connected", True))

    def _node_reboots(self) -> None:
        node = self._node()
        if node.up:
            node.crash()
            self._later(1, 30, node.boot_up)

    def _store_away(self) -> None:
        self.world.store_back_at = self.world.now + self.rng.uniform(1, 30)

    def _scheduler_dies(self) -> None:
        self.world.kill_scheduler(self.rng.uniform(0.5, 6))

    def _grant_refused(self) -> None:
        self._node().refusals.append(self.rng.choice(("held_by", "port_taken")))

    def _scaled(self) -> None:
        name = self._service()
        if name:
            spec = dict(self.world.store.services[name].spec)
            spec.pop("name")
            spec["replicas"] = self.rng.choice((0, 1, 2, 3, {"min": 0, "max": 2}, {"min": 1, "max": 3}))
            self.world.apply(name, spec.pop("replicas"), **spec)

    def _new_revision(self) -> None:
        name = self._service()
        if name:
            spec = dict(self.world.store.services[name].spec)
            spec.pop("name")
            spec["env"] = {"N": str(self.rng.random())}
            self.world.apply(name, spec.pop("replicas"), **spec)

    def _deleted(self) -> None:
        name = self._service()
        if name and self.rng.random() < 0.5:
            self.world.change(name, deleted_at=self.world.now, drop_now=self.rng.random() < 0.5)
        elif len(self.world.store.services) < 5:
            self.world.apply(f"late{self.rng.randint(0, 99)}", 1, resources={"gpu": 0.3, "cpu": 0.1, "memory": "1GiB"})

    def _wished(self) -> None:
        living = [s for s in self.world.store.sessions.values() if s.status in (_S.PENDING, _S.PLACED, _S.STARTING, _S.READY, _S.DRAINING)]
        if living:
            self.world.wish(self.rng.choice(living).id, self.rng.choice(("drain", "kill")))

    def _cordoned(self) -> None:
        name = self._node().name
        self.world.mark(name, cordoned=True)
        self._later(2, 20, lambda: self.world.mark(name, cordoned=False))

    def _drained(self) -> None:
        name = self._node().name
        self.world.mark(name, draining_until=self.world.now + self.rng.uniform(0, 30))
        self._later(5, 40, lambda: self.world.mark(name, draining_until=None))

    def _written_off(self) -> None:
        """`node rm --lost`: of a node that is cut off, or, by mistake, of one that lives."""
        self.world.mark(self._node().name, removed=True)

    def _woken(self) -> None:
        name = self._service()
        if name:
            self.world.change(name, woken_at=self.world.now)

    def _node(self):  # type: ignore[no-untyped-def]
        return self.rng.choice(list(self.world.nodes.values()))

    def _service(self) -> str | None:
        names = sorted(name for name, one in self.world.store.services.items() if one.deleted_at is None)
        return self.rng.choice(names) if names else None
