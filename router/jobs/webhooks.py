"""Sends the webhooks of jobs that have ended: signed, tried again with growing pauses, never in the way of a job.

There is one message per job, its end, so that there is nothing to bring into order.
"""

from __future__ import annotations

import asyncio
import logging
import random

import msgspec

from router.admin.views import moment
from router.jobs import signing
from router.jobs.delivery import NotDelivered, deliver
from router.jobs.targets import Allowed
from router.jobs.views import view
from stoker.clock import Clock
from stoker.errors import StoreUnavailable, WebhookRefused
from stoker.jobs import JobRecord
from stoker.keyring import webhook_secret
from stoker.store.outbox import Letter
from stoker.store.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 16
PER_HOST = 4
"""Of those at once, so that a slow receiver does not keep the others waiting."""

PAUSES = (2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 28800.0)
"""Seconds before each further try; then it is given up, about 16 hours after the first."""

_LOOK_SECONDS = 30.0


class Postman:
    """`due` is set when there may be something to send."""

    def __init__(self, store: Store, cluster_key: bytes, allowed: Allowed, clock: Clock, due: asyncio.Event) -> None:
        self._store, self._cluster_key, self._allowed, self._clock, self._due = store, cluster_key, allowed, clock, due
        self._hosts: dict[str, int] = {}
        self._free = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._due.clear()
                try:
                    await self._send_due(group)
                except StoreUnavailable:
                    await self._clock.sleep(1.0)
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._due.wait()
                except TimeoutError:
                    continue

    async def _send_due(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._free.acquire()
            try:
                letters = await self._store.jobs.outbox.take(1)
            except StoreUnavailable:
                self._free.release()
                raise
            if not letters:
                self._free.release()
                return
            group.create_task(self._send(letters[0]))

    async def _send(self, letter: Letter) -> None:
        try:
            job = await self._store.jobs.get(letter.job)
            if job is None or job.webhook is None:
                await self._store.jobs.outbox.done(letter.job)
            else:
                await self._try(letter, job, job.webhook)
        except StoreUnavailable:
            log.info("what came of the webhook of %s is not known to the store; it may be sent once more", letter.job)
        finally:
            self._free.release()

    async def _try(self, letter: Letter, job: JobRecord, url: str) -> None:
        host = url.split("/", 3)[2]
        if self._hosts.get(host, 0) >= PER_HOST:
            await self._store.jobs.outbox.again(letter.job, random.uniform(0.5, 1.5), uncounted=True)
            return
        self._hosts[host] = self._hosts.get(host, 0) + 1
        try:
            await self._post(job, url)
        except (NotDelivered, WebhookRefused) as error:
            await self._later(letter, str(error), final=isinstance(error, NotDelivered) and error.final)
        else:
            await self._store.jobs.outbox.done(letter.job)
        finally:
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]

    async def _post(self, job: JobRecord, url: str) -> None:
        now = self._clock.now()
        body = msgspec.json.encode({"type": f"job.{job.status.value}", "timestamp": moment(job.finished_at), "data": view(job)})
        headers = signing.headers(webhook_secret(self._cluster_key, job.project), f"msg_{job.id.removeprefix('job_')}", now, body)
        await deliver(url, headers, body, self._allowed)

    async def _later(self, letter: Letter, why: str, *, final: bool) -> None:
        if final or letter.attempt > len(PAUSES):
            log.warning("the webhook of %s is given up after %d tries: %s", letter.job, letter.attempt, why)
            await self._store.jobs.outbox.done(letter.job)
            return
        log.info("the webhook of %s was not delivered (try %d): %s", letter.job, letter.attempt, why)
        await self._store.jobs.outbox.again(letter.job, PAUSES[letter.attempt - 1] * random.uniform(0.8, 1.2))
