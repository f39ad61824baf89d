"""Which status may follow which, and who may say so. docs/states.md is generated from this table.

Every arrow has one owner; the store compares the expected old status and refuses what does not fit, so that a late
message cannot move a session backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class SessionStatus(StrEnum):
    PENDING = "PENDING"
    PLACED = "PLACED"
    STARTING = "STARTING"
    READY = "READY"
    ASLEEP = "ASLEEP"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    LOST = "LOST"


class ServiceStatus(StrEnum):
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    IDLE = "IDLE"
    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"
    PROVISIONING = "PROVISIONING"


class Phase(StrEnum):
    """What a starting session is busy with; None once it is READY."""

    PULLING = "pulling"
    STARTING = "starting"
    LOADING = "loading"
    WARMING = "warming"


class Owner(StrEnum):
    SCHEDULER = "scheduler"
    WORKER = "worker"


_S = SessionStatus
_PLACED_ALIVE = (_S.PLACED, _S.STARTING, _S.READY, _S.ASLEEP, _S.DRAINING)

TRANSITIONS: Mapping[tuple[SessionStatus | None, SessionStatus], tuple[Owner, str]] = {
    (None, _S.PENDING): (Owner.SCHEDULER, "wanted, no place yet; the reason is kept"),
    (_S.PENDING, _S.PLACED): (Owner.SCHEDULER, "node, devices and shares are fixed"),
    (_S.PENDING, _S.STOPPED): (Owner.SCHEDULER, "no longer wanted before it had a place"),
    (_S.PLACED, _S.PENDING): (Owner.SCHEDULER, "the node refused it"),
    (_S.PLACED, _S.STARTING): (Owner.WORKER, "granted by the node's journal; image, weights, process"),
    (_S.STARTING, _S.READY): (Owner.WORKER, "the probe passed; the address is published"),
    (_S.READY, _S.ASLEEP): (Owner.WORKER, "put to sleep at the scheduler's wish"),
    (_S.ASLEEP, _S.READY): (Owner.WORKER, "woken at the scheduler's wish"),
    **{(s, _S.DRAINING): (Owner.SCHEDULER, "no longer wanted: no new requests, stop when empty") for s in _PLACED_ALIVE[:-1]},
    (_S.DRAINING, _S.STOPPED): (Owner.WORKER, "the process group is gone and the devices are free"),
    **{(s, _S.FAILED): (Owner.WORKER, "ended unasked, or could not be made; the reason is kept") for s in _PLACED_ALIVE},
    **{(s, _S.LOST): (Owner.SCHEDULER, "the node was silent beyond the long limit; shares stay booked") for s in _PLACED_ALIVE},
    (_S.LOST, _S.READY): (Owner.SCHEDULER, "the node came back and reports it serving"),
    (_S.LOST, _S.DRAINING): (Owner.SCHEDULER, "the node came back, but the session was replaced or is not serving"),
    (_S.LOST, _S.STOPPED): (Owner.SCHEDULER, "`node rm --lost`, or the node booted anew"),
}

HOLDING = frozenset({*_PLACED_ALIVE, _S.LOST})
"""Statuses in which a session's shares, memory and port are not sold."""

TERMINAL = frozenset({_S.STOPPED, _S.FAILED})
COMING = frozenset({_S.PENDING, _S.PLACED, _S.STARTING})
"""Statuses that may still become READY without another decision."""


def owner_of(old: SessionStatus | None, new: SessionStatus) -> Owner | None:
    """Who may move a session from `old` to `new`; None where nobody may. `old=None` is creation."""
    arrow = TRANSITIONS.get((old, new))
    return arrow[0] if arrow else None


def sources(new: SessionStatus, owner: Owner) -> tuple[SessionStatus, ...]:
    """The statuses from which `owner` may move a session to `new`, in the table's order."""
    return tuple(old for (old, to), (who, _) in TRANSITIONS.items() if to is new and who is owner and old is not None)
