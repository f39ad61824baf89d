"""The worker as a whole: its heartbeat, what it tells about the node, and one runner per session that converge wants attended.

The loops are independent: the heartbeat does not wait for a disk, a driver or a session. An unexpected error in one of them
ends the process; sessions run on, and the next worker adopts them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from stoker.errors import ConfigurationError, NotFound, Refused, StoreUnavailable
from stoker.records import Event, NodeRecord
from worker import inventory
from worker.converge import Action, Do, World, converge
from worker.measuring import Measuring
from worker.model_facts import LOOK_AGAIN_SECONDS, FactsBook
from worker.node import Node
from worker.recovery import recover_broken
from worker.session_runner import SessionRunner
from worker.tidying import tidy

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
"""Between two looks at everything when nothing changes."""

TIDY_SECONDS = 10.0
_EPOCH_SECONDS = 10.0
_PAUSE_SECONDS = 0.5


class Agent:
    """`worker_url`: where this worker serves logs; `facts`: what it knows of models. When `run` is cancelled, sessions run on."""

    def __init__(self, node: Node, worker_url: str, facts: FactsBook) -> None:
        self._node, self._url = node, worker_url
        self._facts = facts
        self._runners: dict[str, SessionRunner] = {}
        self._missing_since: dict[str, float] = {}
        self._record: NodeRecord | None = None
        self._ousted = asyncio.Event()
        self._changed = asyncio.Event()
        self._inventory_due = asyncio.Event()
        node.mirror.listen(self._hear)

    async def run(self) -> None:
        """Until cancelled. Raises ConfigurationError where another worker has taken this node's name."""
        node = self._node
        await asyncio.to_thread(inventory.look, node)
        async with asyncio.TaskGroup() as group:
            sessions = group.create_task(self._sessions())
            loops = [group.create_task(loop) for loop in (node.mirror.follow(), self._beat(), self._watch_epoch(), self._tell())]
            loops.append(group.create_task(Measuring(node).run()))
            loops.append(group.create_task(asyncio.to_thread(_load, node)))
            await self._ousted.wait()
            for task in (sessions, *loops):
                task.cancel()
        raise ConfigurationError(f"another worker has registered as the node {node.name}; give each its own STOKER_NODE_NAME")

    @property
    def is_ready(self) -> bool:
        """Whether the node is registered and its copy of the store is being kept fresh."""
        return self._record is not None and self._node.mirror.connected

    def _hear(self, kind: str, id: str, _: object) -> None:
        if kind == "session":
            if (runner := self._runners.get(id)) is not None:
                runner.hear()
            self._changed.set()
        elif kind == "service":
            self._inventory_due.set()
        elif kind == "sync":
            for runner in self._runners.values():
                runner.hear()
            self._changed.set()
            self._inventory_due.set()

    async def _beat(self) -> None:
        """Nothing but a sign of life, and the store's clock."""
        node, clock = self._node, self._node.clock
        while True:
            try:
                if self._record is not None:
                    await node.store.nodes.beat(node.name)
                    node.store_ahead = await node.store.time() - clock.now()
            except StoreUnavailable:
                log.debug("no heartbeat: the store is away")
            await clock.sleep(node.settings.node_beat_seconds)

    async def _watch_epoch(self) -> None:
        """The highest epoch of the leader, kept on disk: a data set that knows a lower one has gone backwards."""
        node = self._node
        while True:
            try:
                store, epoch = node.mirror.store_id, await node.store.leadership.epoch()
                if store:
                    node.believed = await node.journal.saw(store, epoch)
            except (StoreUnavailable, OSError) as error:
                log.debug("the leader's epoch is not known: %s", error)
            await node.clock.sleep(_EPOCH_SECONDS)

    async def _tell(self) -> None:
        """Register, then write what changes: devices, engines, facts of models, troubles."""
        looked = 0.0
        while True:
            now = self._node.clock.monotonic()
            whole = now - looked >= inventory.SECONDS or self._record is None
            if whole:
                await asyncio.to_thread(inventory.look, self._node)
                await self._still_registered()
                looked = now
            models = [str(service.spec.get("model", "")) for service in self._node.mirror.services.values()]
            if whole or self._facts.missing() or self._facts.unread(models):
                await asyncio.to_thread(self._facts.read, models, only_missing=not whole)
            await self._publish()
            self._inventory_due.clear()
            await _wait(self._inventory_due, LOOK_AGAIN_SECONDS)

    async def _still_registered(self) -> None:
        """An emptied store knows nothing of us, and would not say so by itself."""
        try:
            if await self._node.store.nodes.get(self._node.name) is None:
                self._record = None
        except StoreUnavailable:
            log.debug("whether the node is registered is not known: the store is away")

    async def _publish(self) -> None:
        fresh = inventory.record(self._node, self._url, self._facts.known)
        try:
            if self._record is None:
                await self._node.store.nodes.register(fresh)
                self._record = fresh
                log.info("node %s registered: %d millicores, %d GPUs", fresh.name, fresh.cpu, len(fresh.gpus))
            elif changes := inventory.changed(self._record, fresh):
                await self._node.store.nodes.update(fresh.name, self._record.instance, changes)
                self._record = msgspec.structs.replace(self._record, **changes)
        except StoreUnavailable:
            log.debug("the node's record is to be written once the store is back")
        except NotFound:
            self._record = None  # somebody removed the node; it lives, so it registers again
        except Refused:
            self._ousted.set()

    async def _sessions(self) -> None:
        """Converge on every change and every tick, once everything has been read."""
        node = self._node
        while not node.mirror.store_id:
            await node.clock.sleep(_PAUSE_SECONDS / 10)
        await recover_broken(node)
        tidied = node.clock.monotonic()
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                for action in converge(self._world(), node.clock.monotonic()):
                    await self._act(action, group)
                if node.clock.monotonic() - tidied > TIDY_SECONDS:
                    await tidy(node, self._runners)
                    tidied = node.clock.monotonic()
                await _wait(self._changed, TICK_SECONDS)

    def _world(self) -> World:
        node, now = self._node, self._node.clock.monotonic()
        known, grants = node.mirror.sessions, node.journal.grants
        self._missing_since = {id: self._missing_since.get(id, now) for id in grants if id not in known}
        return World(
            node=node.name,
            store=node.mirror.store_id,
            believed=node.believed,
            sessions=known,
            grants=grants,
            missing_since=self._missing_since,
            attended=self._runners.keys(),
        )

    async def _act(self, action: Action, group: asyncio.TaskGroup) -> None:
        runner = self._runners.get(action.session)
        if runner is not None:
            if action.do is Do.STOP and not runner.stopping:
                await self._report_stop(action)
            runner.order(action)
            return
        runner = self._runners[action.session] = SessionRunner(self._node, action)
        group.create_task(self._attend(runner))

    async def _attend(self, runner: SessionRunner) -> None:
        try:
            await runner.run()
        except* OSError as problems:  # a disk that fails: the next look finds the session as it is, and takes it up again
            log.error("session %s: %s; looking again", runner.session, problems.exceptions[0])
            await self._node.clock.sleep(TICK_SECONDS)
        finally:
            self._runners.pop(runner.session, None)
            self._changed.set()

    async def _report_stop(self, action: Action) -> None:
        """What the store does not want here is told to whoever looks at the node, before it is stopped."""
        assert action.reason is not None
        message = f"{action.session} is stopped: {action.reason.message}"
        log.warning("%s", message)
        try:
            name = self._node.name
            event = Event(object=f"node/{name}", reason=action.reason.code, message=message, actor=f"worker {name}")
            await self._node.store.events.append(event)
        except StoreUnavailable:
            log.debug("the store is away; the log has it")


def _load(node: Node) -> None:
    """What the first session needs is loaded before it comes: a quarter of a second that nobody has to wait for."""
    import worker.probes
    import worker.starting  # noqa: F401

    node.variants()


async def _wait(event: asyncio.Event, seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return None
