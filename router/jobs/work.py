"""Which services have jobs, and how many of them may be claimed: seen through the mirror and the queues."""

from __future__ import annotations

from typing import NamedTuple

from stoker.records import SessionRecord
from stoker.states import SessionStatus
from stoker.store.mirror import Mirror


class Wanting(NamedTuple):
    """A service with queued jobs: how many wait, and how many may be under way at once on what is ready."""

    service: str
    waiting: int
    slots: int


def wanting(mirror: Mirror, waiting: dict[str, int]) -> list[Wanting]:
    """For each service that has queued jobs. What they do not get from interactive requests they wait for in the router."""
    slots = dict.fromkeys(waiting, 0)
    for session in mirror.sessions.values():
        if session.service in slots and session.status is SessionStatus.READY and session.weight > 0:
            slots[session.service] += _limit(mirror, session)
    return [Wanting(service, count, slots[service]) for service, count in waiting.items()]


def _limit(mirror: Mirror, session: SessionRecord) -> int:
    service = mirror.services.get(session.service)
    given = service.spec.get("routing", {}).get("max_concurrency") if service is not None else None
    return int(given) if given else (session.assignment.resolution.max_concurrency if session.assignment is not None else 0)
