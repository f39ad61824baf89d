"""What this router tells the others: that it lives, its load per service, and what is left on draining sessions."""

from __future__ import annotations

import asyncio
import logging

from router.admission import Admission
from router.directory import Directory
from stoker.clock import Clock
from stoker.errors import StoreUnavailable
from stoker.records import Load
from stoker.store.store import Store

log = logging.getLogger(__name__)

BUSY_SECONDS = 1.0
QUIET_SECONDS = 2.0


class Heartbeat:
    """`router` is this process's id, `address` where it listens (http://HOST:PORT), once it does.

    `live` are the routers seen at the last beat, this one among them.
    """

    def __init__(self, router: str, store: Store, directory: Directory, admission: Admission, clock: Clock) -> None:
        self.router = router
        self.address = ""
        self.live: tuple[str, ...] = (router,)
        self._store = store
        self._directory = directory
        self._admission = admission
        self._clock = clock
        self._drains: dict[str, int] = {}
        self._drained = asyncio.Event()
        directory.drain_changed = self.drain_changed

    def drain_changed(self, session: str, in_flight: int) -> None:
        """A session drains, and so many requests of this router are left on it."""
        self._drains[session] = in_flight
        self._drained.set()

    def loads(self) -> dict[str, Load]:
        """Per service, for those that had a request since this router started."""
        found = {}
        for name, service in self._directory.services.items():
            if service.last_request_at:
                draining = sum(route.in_flight for route in self._directory.draining.values() if route.service is service)
                found[name] = Load(
                    in_flight=service.in_flight + draining, waiting=self._admission.waiting(name), last_request_at=service.last_request_at
                )
        return found

    async def run(self) -> None:
        """Beat until cancelled; then leave, so that nobody waits for this router."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat_on())
                group.create_task(self._report_drains())
        finally:
            try:
                await asyncio.shield(asyncio.wait_for(self._store.routers.leave(self.router), 1.0))
            except (StoreUnavailable, TimeoutError):
                log.info("the store does not answer; it will notice by itself that this router has ended")

    async def _beat_on(self) -> None:
        before: dict[str, Load] | None = None
        while True:
            loads = self.loads()
            try:
                await self._store.routers.beat(self.router, loads, self.address)
                self.live = tuple(sorted({*await self._store.routers.live(), self.router}))
            except StoreUnavailable:
                log.debug("the store is away; no beat")
            busy = loads != before or any(load.in_flight or load.waiting for load in loads.values())
            before = loads
            await self._clock.sleep(BUSY_SECONDS if busy else QUIET_SECONDS)

    async def _report_drains(self) -> None:
        while True:
            await self._drained.wait()
            self._drained.clear()
            while self._drains:
                session = next(iter(self._drains))
                in_flight = self._drains.pop(session)
                try:
                    await self._store.routers.report_drain(self.router, session, in_flight)
                except StoreUnavailable:
                    self._drains.setdefault(session, in_flight)
                    await self._clock.sleep(0.5)
