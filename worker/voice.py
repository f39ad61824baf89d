"""Tells the store what is true of one session, until the store knows: through refusals, and however long the store is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import msgspec

from stoker.errors import NotFound, Refused, StoreUnavailable
from stoker.records import Reason, SessionRecord
from stoker.states import Phase, SessionStatus
from stoker.store.database import Written
from worker.node import Node
from worker.verbs import Fact, Stage, Verb, changes, next_verb

log = logging.getLogger(__name__)

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
_LOOK_AGAIN_SECONDS = 5.0
_UNSAID = Reason("node_lost", "it had been told to stop")


class Voice:
    """`say` sets the fact, `hear` says that the record may have changed, `speak` runs until nothing will ever have to be said."""

    def __init__(self, node: Node, session: str) -> None:
        self._node, self._session = node, session
        self._fact: Fact | None = None
        self._news = asyncio.Event()
        self._known: tuple[str, int, SessionRecord | None] | None = None

    @property
    def fact(self) -> Fact | None:
        return self._fact

    def say(self, fact: Fact) -> None:
        if fact != self._fact:
            self._fact = fact
            self._news.set()

    def hear(self) -> None:
        self._news.set()

    def record(self) -> SessionRecord | None:
        """The newest that this worker knows: its own last write, until the mirror has seen it too."""
        mirror = self._node.mirror
        if self._known is not None and self._known[0] == mirror.store_id and self._known[1] > mirror.version:
            return self._known[2]
        return mirror.sessions.get(self._session)

    async def speak(self) -> None:
        """Returns once the session has ended (or was refused) and the store knows, or does not want to know."""
        while not await self._say_all():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _LOOK_AGAIN_SECONDS)

    async def _say_all(self) -> bool:
        failures = 0
        while True:
            self._news.clear()
            record = self.record()
            verb = next_verb(self._fact, record, self._node.name) if self._fact is not None else Verb.WAIT
            if verb in (Verb.WAIT, Verb.DONE):
                return verb is Verb.DONE
            assert record is not None
            try:
                await self._do(verb, record)
                failures = 0
            except (Refused, NotFound):
                await self._look(record)
            except StoreUnavailable:
                log.debug("session %s: %s is to be said once the store is back", self._session, verb)
                await self._node.clock.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1

    async def _look(self, record: SessionRecord) -> None:
        """The store refused: the record is another by now."""
        with contextlib.suppress(StoreUnavailable):
            fresh = await self._node.store.sessions.get(self._session)
            if fresh == record:
                await self._node.clock.sleep(_PAUSES[-1])
            self._known = (self._node.mirror.store_id, self._node.mirror.version + 1, fresh)

    async def _do(self, verb: Verb, record: SessionRecord) -> None:
        fact, sessions, node = self._fact, self._node.store.sessions, self._node.name
        assert fact is not None
        after: dict[str, Any] = {}
        if verb is Verb.START:
            written = await sessions.start(record, node=node)
            after = {"status": SessionStatus.STARTING, "phase": Phase.STARTING}
        elif verb is Verb.READY:
            written = await sessions.ready(record, fact.address or "", node=node)
            after = {"status": SessionStatus.READY, "phase": None, "address": fact.address, "reason": None}
        elif verb is Verb.REPORT:
            after = changes(fact, record)
            written = await sessions.report(record, after, node=node)
        else:
            written, after = await self._say_over(verb, fact, record)
        self._known = (self._node.mirror.store_id, written.version, msgspec.structs.replace(record, **after))

    async def _say_over(self, verb: Verb, fact: Fact, record: SessionRecord) -> tuple[Written, dict[str, Any]]:
        sessions, node = self._node.store.sessions, self._node.name
        reason = fact.reason or _UNSAID
        if verb is Verb.REFUSE:
            return await sessions.refuse(record, reason, node=node), {"refused": reason}
        if verb is Verb.STOP:
            return await sessions.stop(record, node=node), {"status": SessionStatus.STOPPED}
        assert verb is Verb.FAIL and fact.stage is Stage.ENDED
        return await sessions.fail(record, reason, node=node), {"status": SessionStatus.FAILED, "reason": reason}
