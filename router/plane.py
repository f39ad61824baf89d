"""The data path of one router, put together: what requests share, and the loops that keep it going."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from router.access import Access
from router.access_log import AccessLog
from router.admission import Admission
from router.counting import Counting
from router.directory import Directory, Service
from router.exchange import Exchange
from router.health import Prober
from router.heartbeat import Heartbeat
from router.metrics import Metrics
from router.request import Addressing
from router.wake import Waker
from stoker.clock import Clock
from stoker.keyring import runner_key
from stoker.store.mirror import Mirror
from stoker.store.store import Store

TICK_SECONDS = 0.25
SWEEP_EVERY = 8
"""Ticks between two looks for connections that nobody used."""


class Plane:
    """`ring` wakes the scheduler. `exchanges` are the requests under way. `now` is monotonic, `wall` the time of day."""

    def __init__(
        self,
        *,
        router: str,
        store: Store,
        mirror: Mirror,
        access: Access,
        ring: Callable[[str], Awaitable[None]],
        clock: Clock,
        cluster_key: bytes,
        addressing: Addressing,
    ) -> None:
        self.now = clock.monotonic
        self.wall = clock.now
        self.access = access
        access.trust_runners(runner_key(cluster_key))
        self.addressing = addressing
        self.metrics = Metrics()
        self.access_log: AccessLog | None = None
        self.exchanges: set[Exchange] = set()
        self.directory = Directory(mirror, cluster_key, clock.monotonic)
        self.waker = Waker(store, ring, clock)
        self.admission = Admission(self.directory, clock.monotonic, self.waker.wake)
        self.heartbeat = Heartbeat(router, store, self.directory, self.admission, clock)
        self.counting = Counting(store, self.metrics, self.directory, self.heartbeat, clock)
        self.prober = Prober(store, self.directory, self.heartbeat, clock)
        self._mirror = mirror
        self._clock = clock
        self.directory.listen(self._service_changed)
        self.metrics.watch(self._count)

    async def run(self) -> None:
        """The loops of the data path, until cancelled. The mirror's own loop is the caller's."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.waker.run())
            group.create_task(self.heartbeat.run())
            group.create_task(self.counting.run())
            group.create_task(self.prober.run())
            group.create_task(self._tick())

    def ended(self, exchange: Exchange, status: int, first_byte: float | None) -> None:
        """A request is over, and was told `status`; its lease is still its own. `first_byte` in seconds."""
        now, service = self.now(), exchange.service
        self.metrics.ended(service.name if service is not None else "", status, now - exchange.began_at, first_byte)
        if self.access_log is not None:
            self.access_log.ended(exchange, status, now, self.wall(), first_byte)

    def stop(self) -> None:
        """End what is still under way; each client is told."""
        for exchange in [*self.exchanges]:
            exchange.stop()
        if self.access_log is not None:
            self.access_log.flush()

    def progress(self, service: Service) -> tuple[str | None, float | None]:
        """How far its nearest start is, and in how many seconds it should be ready, where starts of it were seen before."""
        if not service.coming:
            return None, None
        nearest = max(service.coming.values(), key=lambda session: (session.started_at or 0.0, session.placed_at or 0.0))
        usual = self._usual_start(service.name)
        eta = max(0.0, usual - (self.wall() - nearest.created_at)) if usual is not None else None
        return nearest.phase.value if nearest.phase else None, eta

    def _usual_start(self, name: str) -> float | None:
        """Of the sessions that are known, how long those that became ready took."""
        took = [s.ready_at - s.created_at for s in self._mirror.sessions.values() if s.service == name and s.ready_at]
        return sum(took) / len(took) if took else None

    def _service_changed(self, service: Service) -> None:
        if service.name not in self.directory.services:
            self.metrics.forget(service.name)

    def _count(self) -> None:
        for name, service in self.directory.services.items():
            self.metrics.in_flight[name] = service.in_flight
            self.metrics.waiting[name] = self.admission.waiting(name)
        for gone in self.metrics.in_flight.keys() - self.directory.services.keys():
            del self.metrics.in_flight[gone], self.metrics.waiting[gone]

    async def _tick(self) -> None:
        count = 0
        while True:
            await self._clock.sleep(TICK_SECONDS)
            now = self.now()
            self.admission.tick(now)
            for exchange in [*self.exchanges]:
                exchange.tick(now)
            if self.access_log is not None:
                self.access_log.flush()
            count += 1
            if count % SWEEP_EVERY == 0:
                for route in self.directory.routes.values():
                    route.pool.sweep()
