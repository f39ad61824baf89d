"""Carries a plan out, one guarded write per action. What has become stale is dropped; the next pass plans it anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from scheduler.actions import (
    Action,
    Create,
    Decide,
    Drain,
    Forget,
    ForgetNode,
    Hasten,
    KeepPending,
    Lose,
    Place,
    Prune,
    Recover,
    Unplace,
    Withdraw,
    WriteOff,
)
from scheduler.figures import counts
from stoker.errors import Conflict, NotFound, Refused, StaleLeader
from stoker.store.database import Written
from stoker.store.store import Store

log = logging.getLogger(__name__)

PORTION = 64
"""Writes in one round trip."""

Carry = Callable[[Store, Any, int], Awaitable[Written]]

VERBS: dict[type, Carry] = {
    Decide: lambda store, a, epoch: store.services.decide(a.service.name, a.changes, epoch=epoch, event=a.event, count=counts(a)),
    Create: lambda store, a, epoch: store.sessions.create(a.session, epoch=epoch),
    Place: lambda store, a, epoch: store.sessions.place(a.session, a.node, a.assignment, epoch=epoch),
    Unplace: lambda store, a, epoch: store.sessions.unplace(a.session, a.reason, epoch=epoch),
    KeepPending: lambda store, a, epoch: store.sessions.keep_pending(a.session, a.reason, epoch=epoch),
    Withdraw: lambda store, a, epoch: store.sessions.withdraw(a.session, a.reason, epoch=epoch),
    Drain: lambda store, a, epoch: store.sessions.drain(a.session, a.reason, a.until, epoch=epoch),
    Hasten: lambda store, a, epoch: store.sessions.hasten(a.session, a.reason, a.until, epoch=epoch),
    Lose: lambda store, a, epoch: store.sessions.lose(a.session, a.reason, epoch=epoch),
    Recover: lambda store, a, epoch: store.sessions.recover(a.session, epoch=epoch),
    WriteOff: lambda store, a, epoch: store.sessions.write_off(a.session, a.reason, epoch=epoch),
    Prune: lambda store, a, epoch: store.sessions.prune(a.id, epoch=epoch),
    Forget: lambda store, a, epoch: store.services.forget(a.service, epoch=epoch),
    ForgetNode: lambda store, a, epoch: store.nodes.forget(a.node),
}


async def commit(store: Store, actions: Sequence[Action], epoch: Callable[[], int | None]) -> int:
    """Apply `actions` in order; the feed's version after the last write, 0 if there was none.

    They go to the store in portions, each in one round trip; `epoch` is asked before each portion, and the store compares
    it with every write. Raises StaleLeader as soon as it says None or the store knows a newer leader, StoreUnavailable
    when the store goes away in between.
    """
    version = 0
    for start in range(0, len(actions), PORTION):
        leading = epoch()
        if leading is None:
            raise StaleLeader("the lease is no longer certain")
        portion = actions[start : start + PORTION]
        results = await asyncio.gather(*(VERBS[type(action)](store, action, leading) for action in portion), return_exceptions=True)
        for action, result in zip(portion, results, strict=True):
            if isinstance(result, Refused | NotFound | Conflict):
                log.info("%s was dropped: %s", type(action).__name__, result.message)
            elif isinstance(result, BaseException):
                raise result
            else:
                version = max(version, result.version)
    return version
