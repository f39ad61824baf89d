"""Takes jobs while there are slots for them, keeps their leases, and sends them through a router.

The loops are independent: leases are renewed whatever the others wait for, and nothing of the truth is kept here. A runner
that is killed loses its leases; one that was paused finds that its claims are others' by now, and drops them.
"""

from __future__ import annotations

import asyncio
import logging
import random

from router.jobs.one_job import OneJob
from router.jobs.sending import Sender
from router.jobs.sweeper import Sweeper
from router.jobs.waking import wakes
from router.jobs.work import Wanting, wanting
from stoker.clock import Clock
from stoker.doorbell import RUNNERS, BellWorker, Doorbell
from stoker.errors import NotFound, Refused, StoreUnavailable
from stoker.store.mirror import Mirror
from stoker.store.store import Store

log = logging.getLogger(__name__)

RENEW_SECONDS = 0.75
LOOK_SECONDS = 2.0
"""Between looks without a ring."""

ADDRESSES_SECONDS = 2.0
WAKE_AGAIN_SECONDS = 5.0
_CANCEL = "cancel "


class Runner:
    """`name` is this process's id; `letters` is set when webhooks are due; `limit` is how many jobs it has at once."""

    def __init__(self, name: str, store: Store, mirror: Mirror, key: str, clock: Clock, limit: int, letters: asyncio.Event) -> None:
        self._name, self._store, self._mirror, self._key, self._clock, self._limit = name, store, mirror, key, clock, limit
        self._letters = letters
        self._held: dict[str, OneJob] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._scheduler = Doorbell(store)
        self._asked_at: dict[str, float] = {}
        self._addresses: list[str] = []
        self._asked_addresses_at = float("-inf")
        self._ending = False
        self._sweeper = Sweeper(store, clock, self._woken.set, letters.set)
        mirror.listen(lambda kind, id, record: self._woken.set())

    @property
    def held(self) -> int:
        return len(self._held)

    async def run(self) -> None:
        """Until cancelled; then what is under way goes back to the queue."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(BellWorker(self._store, self._answer, RUNNERS, self._heard).main())
                group.create_task(self._renew())
                group.create_task(self._sweeper.run())
                try:
                    await self._take_on(group)
                finally:
                    self._ending = True
        finally:
            await self._give_back()

    # hearing

    async def _answer(self, about: str) -> None:
        self._woken.set()

    def _heard(self, word: str) -> None:
        if word.startswith(_CANCEL):
            task = self._tasks.get(word.removeprefix(_CANCEL))
            if task is not None:
                task.cancel()
        else:
            self._woken.set()

    # claiming

    async def _take_on(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._woken.clear()
            try:
                await self._look(group)
            except StoreUnavailable:
                await self._clock.sleep(0.5)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """Claim what can run now; wake who sleeps; fail what waits for services that are gone."""
        waiting = await self._store.jobs.waiting()
        if not waiting:
            return
        await self._find_routers()
        now = await self._store.time()
        share = max(1, self._limit // len(waiting))
        for found in wanting(self._mirror, waiting):
            record = self._mirror.services.get(found.service)
            if record is None or record.deleted_at is not None:
                await self._forsake(found.service)
            elif found.slots:
                await self._claim(group, found, share)
            elif wakes(record, found.waiting, now):
                await self._wake(found.service)

    async def _claim(self, group: asyncio.TaskGroup, found: Wanting, share: int) -> None:
        """As many as there are slots for, and no more than its share of what this runner can have at once."""
        mine = sum(one.job.service == found.service for one in self._held.values())
        for _ in range(min(found.waiting, min(found.slots, share) - mine, self._limit - len(self._held))):
            claim = await self._store.jobs.claim(found.service, self._name)
            if claim is None:
                return
            one = self._held[claim.job.id] = OneJob(self._store.jobs, self._clock, claim)
            self._tasks[claim.job.id] = group.create_task(self._run(one))

    async def _run(self, one: OneJob) -> None:
        sender = Sender(random.choice(self._addresses), self._key) if self._addresses else None
        try:
            await one.run(sender)
        finally:
            if not self._ending:  # else it is given back with the others
                self._held.pop(one.job.id, None)
                self._tasks.pop(one.job.id, None)
            self._woken.set()

    # leases

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(RENEW_SECONDS)
            held = {id: one.epoch for id, one in self._held.items()}
            if not held:
                continue
            try:
                gone = await self._store.jobs.renew(held)
            except StoreUnavailable:
                continue
            for id in gone:
                one, task = self._held.get(id), self._tasks.get(id)
                if one is not None and task is not None and one.epoch == held[id]:
                    log.info("%s is not ours any more: cancelled, expired, or claimed by another runner", id)
                    task.cancel()

    # others

    async def _find_routers(self) -> None:
        now = self._clock.monotonic()
        if now - self._asked_addresses_at >= ADDRESSES_SECONDS or not self._addresses:
            self._addresses = await self._store.routers.addresses()
            self._asked_addresses_at = now

    async def _wake(self, service: str) -> None:
        now = self._clock.monotonic()
        if now - self._asked_at.get(service, float("-inf")) < WAKE_AGAIN_SECONDS:
            return
        self._asked_at = {name: at for name, at in self._asked_at.items() if now - at < WAKE_AGAIN_SECONDS} | {service: now}
        try:
            await self._store.services.wake(service)
            await self._scheduler.ring(service)
        except (NotFound, Refused):
            return

    async def _forsake(self, service: str) -> None:
        """The mirror may be behind, so the store is asked."""
        record = await self._store.services.get(service)
        if record is None or record.deleted_at is not None:
            await self._sweeper.fail_queue(service)

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(2.0):
                for one in [*self._held.values()]:
                    await one.give_back()
        except (StoreUnavailable, TimeoutError):
            log.info("the store does not answer; the leases of %d jobs run out by themselves", len(self._held))
