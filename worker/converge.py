"""What to do about each session of this node, from what the store says, what the journal says and who is looked after already.

Level-triggered: the same answer comes again until the world has changed, and doing it twice does no harm. The cases by number:

The store places it here:
1. PLACED, nothing in the journal                    begin it (or refuse it)
2. PLACED with our refusal                           leave it to the scheduler
3. DRAINING                                          drain it
4. any other status that holds                       keep it
5. it holds, but the journal knows nothing           say that it is gone: it ended before this journal began
The journal has it, and it has not ended:
6. the store says it ended, or is elsewhere, and the data set may be believed      stop it at once
7. the store does not know it, for some time, and may be believed                  tell, then stop it
8. the data set is unknown, has gone backwards or came up empty                    keep it, whatever the store says
The journal has it as ended:
9. the store does not know that (any more)          tell it
10. else                                             nothing but the port, which cools
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

import msgspec

from stoker.records import Reason, SessionRecord
from stoker.states import HOLDING, SessionStatus
from worker.grants import Grant

FORGOTTEN_SECONDS = 10.0
"""How long the store must not know a session before it is stopped."""


class Do(StrEnum):
    KEEP = "keep"
    DRAIN = "drain"
    STOP = "stop"
    SETTLE = "settle"
    GONE = "gone"


class Action(msgspec.Struct, frozen=True):
    """`do` it to `session`; `until` is the store's time at which a drain ends, `reason` why it is stopped."""

    session: str
    do: Do
    until: float | None = None
    reason: Reason | None = None


class World(msgspec.Struct, frozen=True, kw_only=True):
    """`sessions` are the store's records of every node by id; `missing_since` says when a granted session was first not
    among them. `store` is the data set's id; `believed` is False where its leader's epoch has gone backwards.
    """

    node: str
    store: str
    believed: bool
    sessions: Mapping[str, SessionRecord]
    grants: Mapping[str, Grant]
    missing_since: Mapping[str, float]
    attended: Collection[str] = ()


def converge(world: World, now: float) -> list[Action]:
    """One action at most per session, by id; those that need nothing are left out."""
    mine = {id for id, record in world.sessions.items() if record.node == world.node}
    found = []
    for id in sorted(mine | world.grants.keys()):
        record, grant = world.sessions.get(id), world.grants.get(id)
        if grant is not None and grant.ended_at is not None:
            known = grant.reported and (id not in mine or record is None or record.status not in HOLDING)
            action = None if known else Action(id, Do.SETTLE)
        elif grant is not None:
            action = _granted(world, grant, record if id in mine else None, now)
        else:
            assert record is not None
            action = _not_granted(record, attended=id in world.attended)
        if action is not None:
            found.append(action)
    return found


def _not_granted(record: SessionRecord, *, attended: bool) -> Action | None:
    """Cases 1, 2, 3 and 5. Whoever is attended is being granted, or is telling the store, right now."""
    draining = record.status is SessionStatus.DRAINING
    if record.status is SessionStatus.PLACED:
        return None if record.refused is not None else Action(record.id, Do.KEEP)
    if attended and draining:
        return Action(record.id, Do.DRAIN, until=record.drain_until)
    if record.status not in HOLDING or attended:
        return None
    gone = Reason("node_lost", "the node came back without it: its journal does not know the session")
    return Action(record.id, Do.GONE, reason=None if draining else gone)


def _granted(world: World, grant: Grant, record: SessionRecord | None, now: float) -> Action:
    """Cases 3, 4, 6, 7 and 8. `record` is None where the store has none, or one for another node."""
    if record is not None and record.status in HOLDING:
        draining = record.status is SessionStatus.DRAINING
        return Action(grant.session, Do.DRAIN, until=record.drain_until) if draining else Action(grant.session, Do.KEEP)
    if not may_stop(world, grant):
        return Action(grant.session, Do.KEEP)
    if record is not None or grant.session in world.sessions:
        return Action(grant.session, Do.STOP, reason=Reason("service_removed", "the store no longer has it on this node"))
    if now - world.missing_since.get(grant.session, now) < FORGOTTEN_SECONDS:
        return Action(grant.session, Do.KEEP)
    return Action(grant.session, Do.STOP, reason=Reason("service_removed", "the store has forgotten it"))


def may_stop(world: World, grant: Grant) -> bool:
    """Whether this store's silence counts: it asked for the session itself, and neither went backwards nor came up empty."""
    return world.believed and grant.store == world.store and bool(world.sessions)
