"""The whole cluster's figures, the same from whichever process is asked: the store's counters, and gauges from its records.

What is shown is what the store holds, own counts included only once it has them: whoever is asked next shows as much or more.
While the store is away the last that was read is shown, with what this process has counted since.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from stoker.clock import Clock
from stoker.errors import StoreUnavailable
from stoker.metrics.catalogue import NODE_STATUSES, families
from stoker.metrics.page import Counters, counted, gauge
from stoker.records import Load, NodeRecord
from stoker.settings import Settings
from stoker.states import HOLDING, SessionStatus
from stoker.status import node_status, summarise
from stoker.store.figures import JobFigures
from stoker.store.mirror import Mirror
from stoker.store.store import Store

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0
"""Longer than that no reading waits for the store."""

Gauges = Mapping[tuple[str, ...], float]


class Own(Protocol):
    """What the process that is asked knows before the store does."""

    async def flush(self) -> bool: ...
    def unsent(self) -> Mapping[str, Mapping[str, int]]: ...
    def loads(self) -> tuple[str, Mapping[str, Load]]: ...


class Seen(msgspec.Struct, frozen=True):
    """What the store said at `now`, its time."""

    now: float = 0.0
    counters: Counters = {}
    loads: Mapping[str, Mapping[str, Load]] = {}
    leader: str | None = None
    beats: Mapping[str, float] = {}
    nodes: Mapping[str, NodeRecord] = {}
    utilization: Mapping[str, Mapping[str, float]] = {}
    jobs: JobFigures = JobFigures(0, 0, 0.0)


class ClusterFigures(Collector):
    """`mirror` has services and sessions; nodes are read from the store where it lacks them. `own`: a router's counts."""

    def __init__(self, store: Store, mirror: Mirror, settings: Settings, clock: Clock, own: Own | None = None) -> None:
        self._store, self._mirror, self._settings, self._clock, self._own = store, mirror, settings, clock, own
        self._looking = asyncio.Lock()
        self._began = float("-inf")
        self._seen = Seen()
        self._up = False
        self.registry = CollectorRegistry()
        self.registry.register(self)

    async def text(self) -> bytes:
        """Prometheus' text format, as of now."""
        await self.look()
        return generate_latest(self.registry)

    async def look(self) -> None:
        """Ask the store. Who comes while somebody waits to ask shares that answer."""
        came = self._clock.monotonic()
        async with self._looking:
            if self._began > came:
                return
            self._began = self._clock.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    self._up = self._mirror.connected and await self._ask()
            except (StoreUnavailable, TimeoutError):
                self._up = False

    async def _ask(self) -> bool:
        if self._own is not None and not await self._own.flush():
            return False
        store, now = self._store, await self._store.time()
        self._seen = Seen(
            now=now,
            counters=await store.figures.read(self._mirror.services),
            loads=await store.routers.loads(),
            leader=await store.leadership.leader(),
            beats=await store.nodes.seen(),
            nodes=self._mirror.nodes if "node" in self._mirror.records else await store.nodes.all(),
            utilization=await store.figures.utilization(now),
            jobs=await store.figures.jobs(now),
        )
        return True

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        counters = self._counters()
        gauges = self._gauges()
        for family in families():
            yield gauge(family, gauges[family.name]) if family.kind == "gauge" else counted(family, counters)

    def _counters(self) -> Counters:
        found = {name: dict(self._seen.counters.get(name, {})) for name in ("", *self._mirror.services)}
        more = {} if self._up or self._own is None else self._own.unsent()
        for service in more.keys() & found.keys():
            for name, amount in more[service].items():
                found[service][name] = found[service].get(name, 0) + amount
        return found

    def _gauges(self) -> dict[str, Gauges]:
        sessions = Counter(session.status for session in self._mirror.sessions.values())
        jobs = self._seen.jobs
        loads = self._loads()
        return {
            "requests_in_flight": {(name,): sum(load.in_flight for load in of) for name, of in loads.items()},
            "requests_waiting": {(name,): sum(load.waiting for load in of) for name, of in loads.items()},
            "service_replicas": dict(self._replicas()),
            "sessions": {(status.value,): sessions[status] for status in SessionStatus},
            "jobs": {("queued",): jobs.queued, ("running",): jobs.running},
            "jobs_oldest_seconds": {(): jobs.oldest},
            "nodes": self._nodes(),
            "store_up": {(): float(self._up)},
            "leader": {(): float(self._up and self._seen.leader is not None)},
            **self._gpus(),
        }

    def _loads(self) -> dict[str, list[Load]]:
        """Of each service, one per router that has had requests of it; this router's as it is now."""
        of_routers = dict(self._seen.loads) if self._up else {}
        if self._own is not None:
            router, load = self._own.loads()
            of_routers[router] = load
        return {name: [load[name] for load in of_routers.values() if name in load] for name in self._mirror.services}

    def _replicas(self) -> Iterator[tuple[tuple[str, ...], float]]:
        of: dict[str, list[Any]] = {}
        for session in self._mirror.sessions.values():
            of.setdefault(session.service, []).append(session)
        for name, record in self._mirror.services.items():
            summary = summarise(record, of.get(name, ()), self._seen.now)
            yield (name, "wanted"), summary.wanted
            yield (name, "ready"), summary.ready

    def _nodes(self) -> Gauges:
        found = Counter(node_status(node, self._age(node), self._settings) for node in self._seen.nodes.values())
        return {(word,): found[word] for word in NODE_STATUSES}

    def _age(self, node: NodeRecord) -> float:
        return self._seen.now - max(self._seen.beats.get(node.name, 0.0), node.registered_at)

    def _gpus(self) -> dict[str, Gauges]:
        nodes, told = self._seen.nodes, self._seen.utilization
        booked: Counter[tuple[str, str]] = Counter()
        for session in self._mirror.sessions.values():
            if session.node is not None and session.assignment is not None and session.status in HOLDING:
                for share in session.assignment.gpus:
                    booked[session.node, share.device] += share.share
        gpus = {(name, gpu.id): gpu for name, node in sorted(nodes.items()) for gpu in node.gpus}
        return {
            "gpu_allocated": {key: booked[key] / 100 for key in gpus},
            "gpu_utilization": {key: told[key[0]][key[1]] for key in gpus if key[1] in told.get(key[0], {})},
            "gpu_foreign_bytes": {key: float(gpu.foreign_memory) for key, gpu in gpus.items()},
        }
