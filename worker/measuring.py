"""What a worker measures for /metrics: its engines' counts of tokens and how busy its devices are. Nothing depends on it.

The store adds what is new of an engine's count, whoever tells it: a worker that begins anew loses and doubles nothing. An engine
that dies unasked takes along what it counted in its last EVERY_SECONDS; one that drains is asked every second.
"""

from __future__ import annotations

import asyncio
import logging

from stoker.errors import StoreUnavailable
from stoker.records import SessionRecord
from stoker.states import SessionStatus
from worker.engine_tokens import ask
from worker.grants import Grant
from worker.node import Node
from worker.runtimes.base import CannotStart

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
DRAINING_SECONDS = 1.0
AT_ONCE = 8


class Measuring:
    """`run` until cancelled."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._paths: dict[str, str | None] = {}
        self._told: dict[str, dict[str, int]] = {}
        self._asked: dict[str, float] = {}
        self._few = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        clock, looked = self._node.clock, float("-inf")
        while True:
            await clock.sleep(DRAINING_SECONDS)
            try:
                await self._engines(clock.monotonic())
                if clock.monotonic() - looked >= EVERY_SECONDS:
                    looked = clock.monotonic()
                    await self._devices()
            except StoreUnavailable:
                log.debug("figures are told once the store is back")

    async def _devices(self) -> None:
        shares = await asyncio.to_thread(self._node.devices.utilization)
        if shares:
            await self._node.store.figures.set_utilization(self._node.name, shares)

    async def _engines(self, now: float) -> None:
        """Ask those whose turn it is."""
        node = self._node
        here = {s.id: s for s in node.mirror.sessions.values() if s.node == node.name and s.status in _SERVING and s.address}
        for known in (self._paths, self._told, self._asked):
            for gone in known.keys() - here.keys():
                del known[gone]
        due = [s for s in here.values() if now - self._asked.get(s.id, float("-inf")) >= _pause(s)]
        told = await asyncio.gather(*(self._engine(session, now) for session in due), return_exceptions=True)
        for failure in told:
            if isinstance(failure, BaseException):
                raise failure

    async def _engine(self, session: SessionRecord, now: float) -> None:
        grant = self._node.journal.live(session.id)
        if grant is None or (path := self._path(session, grant)) is None:
            return
        self._asked[session.id] = now
        try:
            async with self._few:
                counts = await ask(self._node.host, grant.port, path, self._node.session_key(session.id))
        except (OSError, TimeoutError) as problem:
            log.debug("session %s does not tell its figures: %s", session.id, problem)
            return
        if counts and counts != self._told.get(session.id):
            await self._node.store.figures.reach(session.service, session.id, counts)
            self._told[session.id] = counts

    def _path(self, session: SessionRecord, grant: Grant) -> str | None:
        """Where the engine of this session tells its figures; None where it does not, or nobody can say."""
        if session.id not in self._paths and session.assignment is not None:
            from worker.starting import plan_of

            try:
                self._paths[session.id] = plan_of(self._node, session.assignment, grant)[1].metrics_path
            except CannotStart:
                self._paths[session.id] = None
        return self._paths.get(session.id)


_SERVING = (SessionStatus.READY, SessionStatus.DRAINING)


def _pause(session: SessionRecord) -> float:
    return DRAINING_SECONDS if session.status is SessionStatus.DRAINING else EVERY_SECONDS
