"""What time does to jobs, carried out: leases that ran out, deadlines, results that are over, queues of services that are gone.

Every runner sweeps; the verbs compare before they write, so that two do no more than one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from stoker.clock import Clock
from stoker.errors import NotFound, Refused, StoreUnavailable
from stoker.jobs import JobRecord, JobStatus
from stoker.records import Reason
from stoker.store.jobs import LEASE_SECONDS, Due
from stoker.store.store import Store

log = logging.getLogger(__name__)

LONGEST_SLEEP = 1.0
_SHORTEST_SLEEP = 0.05
_GAP_SECONDS = 2.0
_PORTION = 500


class Sweeper:
    """`queued` is called when jobs can be claimed that could not before, `letters` when webhooks are due."""

    def __init__(self, store: Store, clock: Clock, queued: Callable[[], None], letters: Callable[[], None]) -> None:
        self._store, self._clock, self._queued, self._letters = store, clock, queued, letters
        self._swept_at = clock.monotonic()
        self._blind_until = 0.0

    async def run(self) -> None:
        """Until cancelled. After a time in which nobody could renew a lease, none is called over for as long as one lasts."""
        while True:
            await self._clock.sleep(await self._pass())

    async def _pass(self) -> float:
        now = self._clock.monotonic()
        if now - self._swept_at > _GAP_SECONDS:
            self._blind_until = now + LEASE_SECONDS
        try:
            due = await self._store.jobs.due(_PORTION)
            self._swept_at = self._clock.monotonic()
            await self._carry_out(due, blind=now < self._blind_until)
        except StoreUnavailable:
            return 0.5
        return min(LONGEST_SLEEP, max(_SHORTEST_SLEEP, due.next_in)) if due.next_in is not None else LONGEST_SLEEP

    async def _carry_out(self, due: Due, *, blind: bool) -> None:
        for id in due.expired:
            await self._expire(id)
        for id in () if blind else due.orphaned:
            await self._hand_back(id)
        for id in due.forgotten:
            await self._forget(id)
        if due.resumed or due.orphaned:
            self._queued()
        if due.webhooks:
            self._letters()

    async def _hand_back(self, id: str) -> None:
        job = await self._store.jobs.get(id)
        if job is None or job.status is not JobStatus.RUNNING:
            return
        try:
            status = await self._store.jobs.hand_back(job, job.epoch, crashed=True, retries=job.retries, overdue=True)
        except (Refused, NotFound):
            return
        log.warning("the runner %s of %s is gone: it is %s now", job.runner, id, status.value)

    async def _expire(self, id: str) -> None:
        job = await self._store.jobs.get(id)
        if job is not None:
            try:
                await self._store.jobs.expire(job)
            except (Refused, NotFound):
                return

    async def _forget(self, id: str) -> None:
        job = await self._store.jobs.get(id)
        if job is not None:
            await (self._store.jobs.forget(job) if job.gone else self._store.jobs.drop_result(job))

    async def fail_queue(self, service: str) -> None:
        """The service is gone for good: what waits for it has failed. Raises StoreUnavailable."""
        reason = Reason("service_removed", f"the service {service} was deleted")
        while jobs := await self._store.jobs.queued(service, _PORTION):
            for job in jobs:
                await self._fail(job, reason)

    async def _fail(self, job: JobRecord, reason: Reason) -> None:
        try:
            await self._store.jobs.fail(job, None, reason)
        except (Refused, NotFound):
            return
