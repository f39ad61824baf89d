"""Jobs run in slots that nobody else wants, and give them back: to a request that would have to wait, or when a session drains."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from stoker.errors import EngineFailed, HandedBack, StokerError, Unavailable

if TYPE_CHECKING:
    from router.access import Principal
    from router.directory import Service
    from router.route import Lease, Outcome, Route

BATCH = -1
"""The priority of requests that run jobs: they get what nobody else waits for, and give it back to whoever comes."""


def priority_of(principal: Principal | None) -> int:
    """Where its requests stand in the queue of a service."""
    return BATCH if principal is not None and principal.is_runner else 0


def reclaim(service: Service) -> None:
    """Somebody waits: the youngest request of a job makes room, in a moment. Does nothing where none runs."""
    leases = (lease for route in service.routes for lease in route.leases if lease.reclaim is not None)
    youngest = max(leases, key=lambda lease: lease.opened_at, default=None)
    if youngest is not None:
        _ask(youngest)


def reclaim_all(leases: Iterable[Lease]) -> None:
    """The session drains: all that jobs have on it go back to their queue."""
    for lease in leases:
        _ask(lease)


def _ask(lease: Lease) -> None:
    """Later, for whoever asks is in the middle of something; once."""
    give_back, lease.reclaim = lease.reclaim, None
    if give_back is not None:
        asyncio.get_running_loop().call_soon(give_back)


def failure(priority: int, outcome: Outcome, route: Route | None, why: str) -> StokerError:
    """What whoever asked is told of a request without an answer. A runner must know whether an engine went down under its job:

    1. The router ends, the session drains, or the slot was needed: handed back.
    2. No engine got it: nothing is known of the job.
    3. The engine went down, or broke off.
    """
    if priority != BATCH:
        return EngineFailed(why)
    if outcome.name == "LEFT" or (route is not None and route.drains):  # (1)
        return HandedBack(why)
    if outcome.name in ("UNREACHABLE", "WRONG_ENGINE"):  # (2)
        return Unavailable(why)
    return EngineFailed(why)  # (3)
