"""One claimed job, from the request to the write that ends the claim, however long the store is away meanwhile."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from router.jobs.sending import RESULT_LIMIT, Sender
from router.jobs.verdict import Again, Done, Ended, judge
from stoker.clock import Clock
from stoker.errors import NotFound, Refused, StoreUnavailable
from stoker.jobs import JobRecord
from stoker.store.jobs import Claim, Jobs

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.05
_STORE_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)


class OneJob:
    """`run` ends when the claim has ended: committed, handed back, or somebody else's by now."""

    def __init__(self, jobs: Jobs, clock: Clock, claim: Claim) -> None:
        self._jobs, self._clock = jobs, clock
        self.job: JobRecord = claim.job
        self.epoch = claim.epoch
        self._body = claim.body
        self._chunks: list[str] = []
        self._size = 0
        self._fresh = asyncio.Event()
        self._done = False

    async def run(self, sender: Sender | None) -> None:
        """With no router to send it through (None) it goes back at once."""
        ended = await self._send(sender) if sender is not None else Ended(lost="no router", router_lives=False)
        verdict = judge(self.job, ended)
        await self._write(lambda: self._commit(verdict))

    async def give_back(self) -> None:
        """This runner ends: the job waits again, and nothing is counted. Raises StoreUnavailable."""
        try:
            await self._jobs.hand_back(self.job, self.epoch, crashed=False)
        except (Refused, NotFound):
            return

    async def _send(self, sender: Sender) -> Ended:
        if not self.job.stream:
            return await sender.send(self.job, self.epoch, self._body, lambda events: None)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell())
            ended = await sender.send(self.job, self.epoch, self._body, self._news)
            self._done = True
            self._fresh.set()
        return ended

    def _news(self, events: list[str]) -> None:
        self._size += sum(map(len, events))
        if self._size <= RESULT_LIMIT:
            self._chunks += events
            self._fresh.set()

    async def _tell(self) -> None:
        """Put the chunks that have come into the job's log, a few times a second."""
        failures = 0
        while not (self._done and not self._chunks):
            await self._fresh.wait()
            self._fresh.clear()
            chunks, self._chunks = self._chunks, []
            if not chunks:
                continue
            try:
                await self._jobs.log.append(self.job, self.epoch, chunks)
                failures = 0
            except StoreUnavailable:
                self._chunks = chunks + self._chunks
                self._fresh.set()
                failures += 1
            if not self._done or failures:
                await self._clock.sleep(FLUSH_SECONDS if not failures else _STORE_PAUSES[min(failures, len(_STORE_PAUSES) - 1)])

    async def _commit(self, verdict: Again | Done) -> None:
        if isinstance(verdict, Again):
            pause = verdict.pause * random.uniform(0.8, 1.2)
            await self._jobs.hand_back(self.job, self.epoch, crashed=verdict.crashed, retries=verdict.retries, pause=pause)
        elif verdict.reason is None and verdict.result is not None:
            await self._jobs.succeed(self.job, self.epoch, verdict.result)
        elif verdict.reason is not None:
            await self._jobs.fail(self.job, self.epoch, verdict.reason, verdict.result)

    async def _write(self, write: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                await write()
            except StoreUnavailable:
                await self._clock.sleep(_STORE_PAUSES[min(failures, len(_STORE_PAUSES) - 1)])
                failures += 1
            except (Refused, NotFound) as error:
                log.info("what came of %s (claim %d) is not taken: %s", self.job.id, self.epoch, error)
                return
            else:
                return
