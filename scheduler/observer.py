"""Turns the mirror and a few questions to the store into a snapshot, and remembers since when it could have seen what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from scheduler.snapshot import Limits, Snapshot
from stoker.clock import Clock
from stoker.planning.vitals import Watch
from stoker.records import Load, RouteHealth
from stoker.settings import Settings
from stoker.store.mirror import Mirror
from stoker.store.store import Store

JUMP = 2.0
"""Seconds that the store's clock and ours may disagree about how much time has passed."""

BLIND = 5.0
"""Seconds between two looks after which heartbeats may have been missed."""


class Observer:
    """`look` asks the store for its time and the heartbeats each time, and for loads and health once per `every` seconds."""

    def __init__(self, store: Store, mirror: Mirror, settings: Settings, clock: Clock) -> None:
        self._store, self._mirror, self._settings, self._clock = store, mirror, settings, clock
        self._since: float | None = None
        self._last: tuple[float, float] | None = None
        self._asked = float("-inf")
        self._loads: Mapping[str, Mapping[str, Load]] = {}
        self._health: Mapping[str, RouteHealth] = {}
        self._active: dict[str, float] = {}

    def blind(self) -> None:
        """What was seen is out of date: a new leader begins, or the store was away. Nobody is judged by old heartbeats."""
        self._since = self._last = None

    async def look(self) -> Snapshot:
        """Raises StoreUnavailable."""
        due = self._clock.monotonic() - self._asked >= self._settings.scheduler_tick_seconds * 0.9
        now, seen, _ = await asyncio.gather(self._store.time(), self._store.nodes.seen(), self._ask() if due else asyncio.sleep(0))
        self._settle(now)
        if due:
            self._note_activity(now)
        assert self._since is not None
        watch = Watch(
            now=now, seen=seen, watched_since=self._since,
            silent_seconds=self._settings.node_silent_seconds, lost_seconds=self._settings.node_lost_seconds,
        )  # fmt: skip
        return Snapshot(
            watch=watch,
            services=dict(self._mirror.services),
            sessions=dict(self._mirror.sessions),
            nodes=dict(self._mirror.nodes),
            loads=self._loads,
            active=dict(self._active),
            health=self._health,
            limits=Limits(ended_sessions_kept=self._settings.ended_sessions_kept),
        )

    def _settle(self, now: float) -> None:
        """Start anew after a gap, or when the store's clock was set or is another machine's."""
        monotonic = self._clock.monotonic()
        if self._last is not None:
            passed, theirs = monotonic - self._last[1], now - self._last[0]
            if passed > BLIND or abs(theirs - passed) > JUMP:
                self._since = None
        if self._since is None:
            self._since = now
        self._last = (now, monotonic)

    async def _ask(self) -> None:
        self._loads, self._health = await asyncio.gather(self._store.routers.loads(), self._store.routers.health())
        self._asked = self._clock.monotonic()

    def _note_activity(self, now: float) -> None:
        for by_service in self._loads.values():
            for name, load in by_service.items():
                last = now if load.in_flight or load.waiting else min(load.last_request_at, now)
                self._active[name] = max(self._active.get(name, 0.0), last)
        for name in self._active.keys() - self._mirror.services.keys():
            del self._active[name]
