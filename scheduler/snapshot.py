"""Everything one pass decides from, as one value: the same snapshot always gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stoker.planning.vitals import Watch
from stoker.records import Load, NodeRecord, RouteHealth, ServiceRecord, SessionRecord


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the scheduler's patience, in seconds, and of what it keeps."""

    ended_sessions_kept: int = 20
    taken_up_within: float = 30.0
    """A PLACED session that a living node has not begun to start by then is placed anew."""

    created_at_once: int = 50
    """New sessions per service and pass; the rest follows in the next passes."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`watch` holds `now` in the store's time, and when each node was last seen. `loads` by live router, then service;
    `active` is when the scheduler last knew of a request for a service; `health` what routers see of each session.
    """

    watch: Watch
    services: Mapping[str, ServiceRecord] = {}
    sessions: Mapping[str, SessionRecord] = {}
    nodes: Mapping[str, NodeRecord] = {}
    loads: Mapping[str, Mapping[str, Load]] = {}
    active: Mapping[str, float] = {}
    health: Mapping[str, RouteHealth] = {}
    limits: Limits = Limits()

    @property
    def now(self) -> float:
        return self.watch.now
