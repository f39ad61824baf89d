"""Which sessions of one service come and go: replacing, scaling out and in. Counts only; where they go is placement's."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stoker.records import SessionRecord
from stoker.states import SessionStatus

_S = SessionStatus
_SERVING = frozenset({_S.READY, _S.ASLEEP})
_ORDER = {_S.PENDING: 0, _S.PLACED: 1, _S.STARTING: 2}


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The living sessions of one service. `current` are as they should be; `outgoing` are of an older revision, or on a node
    that is being drained, and are replaced before they go. `unhealthy` are ids that get no traffic.
    """

    current: tuple[SessionRecord, ...]
    outgoing: tuple[SessionRecord, ...] = ()
    unhealthy: frozenset[str] = frozenset()

    def serves(self, session: SessionRecord) -> bool:
        return session.status in _SERVING and session.id not in self.unhealthy


class Turnover(msgspec.Struct, frozen=True):
    """How many to make, which current ones are too many, and which outgoing ones may go now."""

    create: int
    surplus: tuple[SessionRecord, ...]
    gone: tuple[SessionRecord, ...]


def turnover(fleet: Fleet, wanted: int, *, surge: int, unavailable: int, blocked: bool) -> Turnover:
    """1. current ones beyond `wanted` go, the least useful first
    2. outgoing ones that do not serve go at once, unless nothing can replace them
    3. outgoing ones that serve go as soon as enough others do: at least wanted - unavailable must serve all the time
    4. new ones come up to `wanted`, with at most `surge` sessions too many meanwhile
    """
    surplus = victims(fleet, len(fleet.current) - wanted)  # (1)
    kept = len(fleet.current) - len(surplus)
    idle = [session for session in fleet.outgoing if not fleet.serves(session)]
    gone = list(idle) if not blocked or wanted == 0 else []  # (2)
    serving = [session for session in fleet.outgoing if fleet.serves(session)]
    stays = wanted - (0 if blocked else unavailable)
    spare = sum(map(fleet.serves, fleet.current)) + len(serving) - max(0, stays)
    spare -= sum(map(fleet.serves, surplus))
    gone += sorted(serving, key=_youngest_last)[: max(0, spare)]  # (3)
    left = len(fleet.outgoing) - len(gone)
    create = 0 if blocked else max(0, min(wanted - kept, wanted + surge - kept - left))  # (4)
    return Turnover(create, tuple(surplus), tuple(gone))


def victims(fleet: Fleet, count: int) -> list[SessionRecord]:
    """Who goes when fewer are wanted: not READY first (the least far first), then unhealthy, then the youngest."""
    ordered: Sequence[SessionRecord] = sorted(fleet.current, key=lambda s: (_rank(fleet, s), -s.created_at, s.id))
    return list(ordered[: max(0, count)])


def _rank(fleet: Fleet, session: SessionRecord) -> int:
    if session.status in _ORDER:
        return _ORDER[session.status]
    return 3 if session.id in fleet.unhealthy else 4


def _youngest_last(session: SessionRecord) -> tuple[float, str]:
    return session.created_at, session.id
