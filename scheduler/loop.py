"""The scheduler's only loop: something changed, or a second has passed; look, decide, write."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from model_variants.base import Variant
from scheduler.commit import commit
from scheduler.leader import Leader
from scheduler.observer import Observer
from scheduler.reconcile import reconcile
from scheduler.spec_cache import SpecCache
from stoker.clock import Clock
from stoker.errors import StaleLeader, StoreUnavailable
from stoker.store.mirror import Mirror
from stoker.store.store import Store

log = logging.getLogger(__name__)

Answer = Callable[[str], Awaitable[None]]
_CATCH_UP_SECONDS = 2.0
_CATCH_UP_STEP = 0.002
_ID_SIGNS = "23456789abcdefghjkmnpqrstvwxyz"


def new_id(service: str) -> str:
    """`NAME-xxxxx`; the store refuses one that exists."""
    return service + "-" + "".join(secrets.choice(_ID_SIGNS) for _ in range(5))


class Loop:
    """Waits until this process leads, plans while it does, and waits again. `bell` hears the doorbell until it is cancelled."""

    def __init__(
        self, store: Store, mirror: Mirror, leader: Leader, observer: Observer, variants: Mapping[str, Variant],
        bell: Callable[[Answer], Coroutine[Any, Any, None]], clock: Clock, *, tick: float,
    ) -> None:  # fmt: skip
        self._store, self._mirror, self._leader, self._observer = store, mirror, leader, observer
        self._variants, self._bell, self._clock, self._tick = variants, bell, clock, tick
        self._specs = SpecCache()
        self._woken = asyncio.Event()
        self._must_see: int | None = None

    async def run(self) -> None:
        """Until cancelled; raises what ended the lease's thread."""
        loop = asyncio.get_running_loop()
        self._mirror.listen(lambda kind, id, record: self._woken.set())
        self._leader.start(lambda: _wake(loop, self._woken))
        while True:
            epoch = await self._until_leading()
            log.info("this scheduler leads, epoch %d", epoch)
            try:
                await self._lead(epoch)
            except* StaleLeader as stale:
                log.warning("this scheduler does not lead any more: %s", stale.exceptions[0])

    async def _until_leading(self) -> int:
        while True:
            self._woken.clear()
            if self._leader.failure is not None:
                raise self._leader.failure
            epoch = self._leader.epoch()
            if epoch is not None:
                return epoch
            await self._woken.wait()

    async def _lead(self, epoch: int) -> None:
        """Raises StaleLeader (in a group) once the lease is gone. What others wrote until now is read first."""
        self._observer.blind()
        self._must_see = None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bell(self._answer))
            while True:
                self._woken.clear()
                await self._pass(epoch)
                await self._wait()

    async def _answer(self, about: str) -> None:
        self._woken.set()

    async def _pass(self, epoch: int) -> None:
        if self._leader.epoch() != epoch:
            raise StaleLeader("the lease has run out")
        try:
            if not await self._caught_up():
                return
            snapshot = await self._observer.look()
            actions = reconcile(snapshot, self._specs.read(snapshot.services), self._variants, new_id)
            if actions:
                self._must_see = None  # should the commit break off, the version is asked for
                self._must_see = await commit(self._store, actions, lambda: self._still(epoch))
        except StoreUnavailable as error:
            log.warning("this pass was given up: %s", error.message)
            self._observer.blind()

    def _still(self, epoch: int) -> int | None:
        return epoch if self._leader.epoch() == epoch else None

    async def _caught_up(self) -> bool:
        """Whether the mirror shows our own last writes (for a new leader: all writes before it), waiting a moment for it.

        A plan from an older view would make sessions twice.
        """
        if self._must_see is None:
            self._must_see = await self._store.version()
        deadline = self._clock.monotonic() + _CATCH_UP_SECONDS
        while self._mirror.version < self._must_see or not self._mirror.connected:
            if self._clock.monotonic() > deadline:
                log.warning("the mirror is behind (%d of %d)", self._mirror.version, self._must_see)
                self._must_see = None
                return False
            await self._clock.sleep(_CATCH_UP_STEP)
        return True

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._tick):
                await self._woken.wait()
        except TimeoutError:
            return


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    """From the lease's thread."""
    loop.call_soon_threadsafe(woken.set)
