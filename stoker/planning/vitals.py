"""Which nodes answer, from when each was last seen. Nothing is judged in a rush: see `watched_since`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from stoker.records import NodeRecord

CLOCK_SLACK = 2.0
"""Seconds that a heartbeat may lie in the future; one that is further ahead was written by a clock that has been set back."""


class Vital(StrEnum):
    """ALIVE takes sessions; SILENT takes no new ones; LOST counts as gone, its sessions are replaced elsewhere."""

    ALIVE = "alive"
    SILENT = "silent"
    LOST = "lost"


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about heartbeats at `now` (store time). `watched_since`: when this judge could first see the store
    without a break; a node is called LOST only after it could have been heard for `lost_seconds` and was not.
    """

    now: float
    seen: Mapping[str, float]
    watched_since: float = 0.0
    silent_seconds: float = 6.0
    lost_seconds: float = 15.0

    def vital(self, node: NodeRecord) -> Vital:
        """1. heard lately: ALIVE; 2. unheard for long, although we listened: LOST; 3. else SILENT."""
        heard = self.heard(node)
        if heard is not None and self.now - heard <= self.silent_seconds:
            return Vital.ALIVE
        if self.now - max(heard or 0.0, self.watched_since) > self.lost_seconds:
            return Vital.LOST
        return Vital.SILENT

    def heard(self, node: NodeRecord) -> float | None:
        """The last sign of life, a registration included; None where there is none that can be believed."""
        signs = (self.seen.get(node.name, 0.0), node.registered_at)
        return max((sign for sign in signs if 0.0 < sign <= self.now + CLOCK_SLACK), default=None)

    def silence(self, node: NodeRecord) -> float:
        """Seconds since the last sign of life, as far as is known."""
        return max(0.0, self.now - (self.heard(node) or self.watched_since))
