"""The life of one session on this node, from its grant to the moment when the store knows how it ended.

    1 grant    what the assignment asks for is free in the journal, and booked there
    2 start    a launch plan is rendered, and its job is handed to the runtime; or what runs already is adopted
    3 ready    it answers as it should, on a port that is its own
    4 serve    it lives and keeps its port, until it is to be drained
    5 stop     its routers are done with it, then it is asked to end, then killed
    6 release  nothing of it is left, its devices are free, and the journal says so

Each step may be the last one of this worker; the next worker begins at 1 again and finds what is done already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from stoker.records import Reason, SessionRecord
from stoker.states import Phase, SessionStatus
from worker.converge import Action, Do
from worker.draining import drained
from worker.endings import reason_of, with_words
from worker.granting import grant_for
from worker.grants import Grant
from worker.journal import Held
from worker.logs import last_words
from worker.node import Node
from worker.runtimes.base import CannotStart, Ending, Running
from worker.verbs import Fact, Stage
from worker.voice import Voice

if TYPE_CHECKING:
    from model_variants.base import LaunchPlan

log = logging.getLogger(__name__)

_IMPATIENT_SECONDS = 5.0
"""Grace of a session that was never ready, as nobody has a request there, and of one whose requests shall end too."""

_KILL_AFTER_SECONDS = 15 * 60.0
"""When the supervisor itself, which counts the grace, is not believed any more."""

_LOOK_AGAIN_SECONDS = 0.5
_RETRY_SECONDS = 1.0
_MEMORY_BACK_SECONDS = 30.0
_SERVED = (SessionStatus.READY, SessionStatus.ASLEEP)


class Stop(msgspec.Struct, frozen=True):
    """Why step 3 or 4 is over: `reason` None where it was asked for; `itself`: the engine ended unasked."""

    reason: Reason | None = None
    itself: bool = False


class SessionRunner:
    """`order` tells it what converge wants, again and again; `hear` that the store's record may have changed."""

    def __init__(self, node: Node, first: Action) -> None:
        self._node, self.session = node, first.session
        self._action = first
        self._ordered = asyncio.Event()
        self._voice = Voice(node, first.session)
        self._was_ready = False

    def order(self, action: Action) -> None:
        self._action = action
        if action.do in (Do.DRAIN, Do.STOP):
            self._ordered.set()

    @property
    def stopping(self) -> bool:
        """Whether it has been told to stop, whatever the store says."""
        return self._action.do is Do.STOP

    def hear(self) -> None:
        self._voice.hear()

    async def run(self) -> None:
        """Until the store knows how it ended. Cancelled, it leaves the session running."""
        self.order(self._action)
        async with asyncio.TaskGroup() as group:
            speaking = group.create_task(self._voice.speak())
            await self._live()
            await speaking
        grant = self._node.journal.grants.get(self.session)
        if grant is not None and grant.ended_at is not None and not grant.reported:
            await self._until_written(lambda: self._node.journal.mark_reported(self.session))

    async def _live(self) -> None:
        known = self._node.journal.grants.get(self.session)
        if known is not None and known.ended_at is not None:
            self._say_ended(known.reason)
        elif known is None and self._action.do is not Do.KEEP:
            self._say_ended(self._action.reason)
        else:
            await self._granted(known)

    async def _granted(self, grant: Grant | None) -> None:
        record = self._voice.record()
        if grant is None:
            try:
                grant = await grant_for(self._node, self.session, record)
            except Held as held:
                log.info("session %s refused: %s", self.session, held.reason.message)
                self._voice.say(Fact(stage=Stage.REFUSED, reason=held.reason))
                return
        reason = await self._engine(grant, record)
        await self._release(grant, reason)
        self._say_ended(reason)

    async def _engine(self, grant: Grant, record: SessionRecord | None) -> Reason | None:
        """Steps 2 to 5. Why it failed; None where it was asked to stop."""
        self._was_ready = record is not None and (record.status in _SERVED or record.address is not None)
        found = await self._node.runtime.find(self.session)
        if isinstance(found, Ending):
            return self._why(grant, Stop(grant.reason, itself=not found.asked), found)
        if found is None and self._ordered.is_set():
            return self._action.reason
        plan: LaunchPlan | None
        if found is None:
            try:
                plan, running = await self._start(grant, record)
            except CannotStart as problem:
                return problem.reason
        else:
            plan, running = self._adopt(grant, record, found), found
        ended = asyncio.create_task(self._node.runtime.ended(self.session))
        try:
            stop = await self._ready(grant, record, plan, running, ended) or await self._serve(grant, ended)
            if not ended.done():
                await self._stop(stop, ended)
            return self._why(grant, stop, ended.result())
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)

    async def _start(self, grant: Grant, record: SessionRecord | None) -> tuple[LaunchPlan, Running]:
        """Raises CannotStart."""
        from worker.starting import start

        if record is None or record.assignment is None:
            raise CannotStart("start_exit", "nobody knows what is to be started")
        self._voice.say(Fact(stage=Stage.STARTING, phase=Phase.STARTING))
        plan, running = await start(self._node, record.assignment, grant)
        log.info("session %s started, pid %s, port %s", self.session, running.pid, grant.port)
        return plan, running

    def _adopt(self, grant: Grant, record: SessionRecord | None, found: Running) -> LaunchPlan | None:
        """How to probe what runs already; None where it was ready, or nobody can say: it is only watched then."""
        from worker.starting import plan_of

        log.info("session %s adopted, pid %s", self.session, found.pid)
        if self._was_ready or record is None or record.assignment is None:
            return None
        try:
            return plan_of(self._node, record.assignment, grant)[1]
        except CannotStart as problem:
            log.warning("session %s: %s", self.session, problem)
            return None

    async def _ready(
        self, grant: Grant, record: SessionRecord | None, plan: LaunchPlan | None, running: Running, ended: asyncio.Task[Ending]
    ) -> Stop | None:
        """Step 3. None once it is ready; adopted sessions that were, are."""
        if grant.reason is not None:
            return Stop(grant.reason)  # an earlier worker was about to stop it
        address = (record.address if record else None) or self._node.address(grant.port)
        ready = Fact(stage=Stage.READY, pid=running.pid, address=address)
        if plan is None:
            if self._was_ready:
                self._voice.say(ready)
            return None
        stop = await self._probe(grant, plan, running, ended)
        if stop is None:
            self._was_ready = True
            self._voice.say(ready)
        return stop

    async def _probe(self, grant: Grant, plan: LaunchPlan, running: Running, ended: asyncio.Task[Ending]) -> Stop | None:
        from worker.probes import NotReady, StartProbe

        def tell(phase: Phase) -> None:
            self._voice.say(Fact(stage=Stage.STARTING, phase=phase, pid=running.pid))

        tell(Phase.LOADING)
        node, id = self._node, self.session
        probe = StartProbe(node.host, grant.port, plan, node.session_key(id), node.clock, lambda: node.runtime.pids(id), tell)
        probing = asyncio.create_task(probe.ready(max(0.0, node.clock.now() - running.started_at)))
        try:
            await self._first(probing, ended)
            if ended.done():
                return Stop(itself=True)
            if not probing.done():
                return Stop(self._action.reason)
            probing.result()
        except NotReady as problem:
            words = await asyncio.to_thread(last_words, node.runtime.folder(id))
            sentence = problem.reason.message
            return Stop(Reason(problem.reason.code, with_words(sentence, words) if words else sentence))
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        return None

    async def _serve(self, grant: Grant, ended: asyncio.Task[Ending]) -> Stop:
        """Step 4, and the drain. Its end."""
        from worker.probes import port_lost

        node, id = self._node, self.session
        losing = asyncio.create_task(port_lost(grant.port, lambda: node.runtime.pids(id), node.clock))
        try:
            await self._first(losing, ended)
            if not ended.done() and not losing.done() and self._action.do is Do.DRAIN:
                await self._drain(losing, ended)
            if ended.done():
                return Stop(itself=True)
            return Stop(losing.result() if losing.done() else self._action.reason)
        finally:
            losing.cancel()
            await asyncio.gather(losing, return_exceptions=True)

    async def _drain(self, *others: asyncio.Task[Reason] | asyncio.Task[Ending]) -> None:
        def until() -> float | None:
            return self._action.until if self._action.do is Do.DRAIN else None

        draining = asyncio.create_task(drained(self._node, self.session, until))
        try:
            await asyncio.wait({draining, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)

    async def _first(self, *tasks: asyncio.Task[None] | asyncio.Task[Reason] | asyncio.Task[Ending]) -> None:
        """Until one of them is done, or there is an order to drain or stop."""
        ordered = asyncio.create_task(self._ordered.wait())
        try:
            await asyncio.wait({ordered, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ordered.cancel()
            await asyncio.gather(ordered, return_exceptions=True)

    async def _stop(self, stop: Stop, ended: asyncio.Task[Ending]) -> None:
        """Step 5. The reason is kept first: another worker may have to finish this."""
        reason = stop.reason
        if reason is not None:
            await self._until_written(lambda: self._node.journal.intend(self.session, reason))
        await self._node.runtime.stop(self.session)
        asked = self._node.clock.monotonic()
        while not (await asyncio.wait({ended}, timeout=_LOOK_AGAIN_SECONDS))[0]:
            patience = _KILL_AFTER_SECONDS if self._was_ready and not self._at_once() else _IMPATIENT_SECONDS
            if self._node.clock.monotonic() - asked >= patience:
                await self._node.runtime.stop(self.session, kill=True)

    def _at_once(self) -> bool:
        """Whether an admin said --now, of the session or of its service."""
        record = self._voice.record()
        service = self._node.mirror.services.get(record.service) if record is not None else None
        return record is not None and (record.wish == "kill" or (service is not None and service.drop_now))

    def _why(self, grant: Grant, stop: Stop, ending: Ending) -> Reason | None:
        if not stop.itself:
            return stop.reason
        folder = self._node.runtime.folder(self.session)
        return reason_of(ending, was_ready=self._was_ready, memory=grant.memory, last_lines=last_words(folder))

    async def _release(self, grant: Grant, reason: Reason | None) -> None:
        """Step 6. A device that does not give its memory back is stuck, and stays booked for as long."""
        node, waited = self._node, 0.0
        while grant.gpus and not node.devices.released(grant.gpus, node.runtime.pids(self.session)):
            if waited >= _MEMORY_BACK_SECONDS:
                stuck = Reason("gpu_fault", f"the memory that {self.session} used has not come back")
                node.stuck.update({share.device: stuck for share in grant.gpus})
            await node.clock.sleep(_RETRY_SECONDS)
            waited += _RETRY_SECONDS
        for share in grant.gpus:
            node.stuck.pop(share.device, None)
        await self._until_written(lambda: node.journal.end(self.session, reason, now=node.clock.now()))
        log.info("session %s ended: %s", self.session, reason.message if reason else "asked to stop")

    def _say_ended(self, reason: Reason | None) -> None:
        self._voice.say(Fact(stage=Stage.ENDED, reason=reason))

    async def _until_written(self, write: Callable[[], Awaitable[None]]) -> None:
        """While the disk is full, what is booked stays booked."""
        while True:
            try:
                return await write()
            except OSError as problem:
                log.error("session %s: the journal cannot be written: %s; trying on", self.session, problem)
                await self._node.clock.sleep(_RETRY_SECONDS)
