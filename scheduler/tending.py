"""One service in one pass: what it starts, how many it wants, who goes and who comes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from model_variants.base import Variant
from scheduler import backoff
from scheduler.autoscale import Demand, demand_of, wanted
from scheduler.draft import Draft
from scheduler.figures import cause_of
from scheduler.leaving import drain, drain_unhealthy, drain_wishes
from scheduler.returning import receive
from scheduler.rollout import Fleet, turnover
from scheduler.settle import Settled, settle
from stoker.records import Event, Reason, ServiceRecord, SessionRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus

_S = SessionStatus
LIVING = frozenset({_S.PENDING, _S.PLACED, _S.STARTING, _S.READY, _S.ASLEEP})
_ON_ITS_WAY = frozenset({_S.PLACED, _S.STARTING})
_YOUNG = 30.0


class Tended(msgspec.Struct, frozen=True):
    """What placement needs to know about a service. `service` is as this pass leaves it."""

    service: ServiceRecord
    settled: Settled


def tend(draft: Draft, service: ServiceRecord, spec: ServiceSpec, variants: Mapping[str, Variant]) -> Tended:
    """1. how its starts have failed; 2. how many it wants; 3. what it starts
    4. who was asked to go, goes; who came back is kept where needed; who is unhealthy for long is replaced
    5. replace, scale in and out
    """
    service = draft.decide(
        service, {"backoff": backoff.derive(service.revision, draft.of(service.name), service.backoff, draft.now)}
    )  # (1)
    service = _want(draft, service, spec)  # (2)
    settled = settle(spec, service, _lacks(draft, service), draft.snapshot, variants)  # (3)
    service = _note(draft, service, settled)
    drain_wishes(draft, service, spec)  # (4)
    receive(draft, service, spec)
    drain_unhealthy(draft, service, spec)
    _turn(draft, service, spec, blocked=settled.resolution is None or settled.blocked is not None)  # (5)
    return Tended(service, settled)


def fleet(draft: Draft, service: ServiceRecord) -> Fleet:
    """Its living sessions: those as they should be, and those to be replaced."""
    living = [session for session in draft.of(service.name) if session.status in LIVING and session.wish is None]
    outgoing = [session for session in living if outdated(service, session) or on_draining_node(draft, session)]
    gone = {session.id for session in outgoing}
    health = draft.snapshot.health
    return Fleet(
        current=tuple(session for session in living if session.id not in gone),
        outgoing=tuple(outgoing),
        unhealthy=frozenset(s.id for s in living if s.status is _S.READY and s.id in health and health[s.id].health == "unhealthy"),
    )


def outdated(service: ServiceRecord, session: SessionRecord) -> bool:
    """A PENDING session takes the newest revision when it gets its place."""
    return session.status is not _S.PENDING and session.revision != service.revision


def on_draining_node(draft: Draft, session: SessionRecord) -> bool:
    node = draft.snapshot.nodes.get(session.node or "")
    return node is not None and node.draining_until is not None


def _want(draft: Draft, service: ServiceRecord, spec: ServiceSpec) -> ServiceRecord:
    sessions = draft.of(service.name)
    young = [session for session in sessions if session.status is _S.PENDING and draft.now - session.created_at < _YOUNG]
    demand = Demand(
        loads=demand_of(service.name, draft.snapshot.loads),
        active_at=max([draft.snapshot.active.get(service.name, 0.0), *(session.ready_at or 0.0 for session in sessions)]),
        watched_since=draft.snapshot.watch.watched_since,
        starting=bool(young) or any(session.status in _ON_ITS_WAY for session in sessions),
    )
    count, why = wanted(spec, service, demand, draft.now)
    event = Event(
        object=f"service/{service.name}", reason="scaled", message=f"{service.wanted} -> {count} sessions: {why}", actor="scheduler"
    )
    return draft.decide(service, {"wanted": count}, event, cause_of(why))


def _lacks(draft: Draft, service: ServiceRecord) -> bool:
    """Whether sessions of this revision still have to find a place."""
    there = [s for s in draft.of(service.name) if s.status in LIVING and s.status is not _S.PENDING and not outdated(service, s)]
    return len(there) < service.wanted


def _note(draft: Draft, service: ServiceRecord, settled: Settled) -> ServiceRecord:
    """Keep what was resolved, and what stands in the way."""
    changes: dict[str, object] = {"reason": settled.blocked}
    event = None
    if settled.resolution is not None:
        changes |= {"resolved": settled.resolution, "resolved_revision": settled.revision}
    if settled.blocked is not None:
        event = _event(service, settled.blocked)
    elif settled.resolution is not None and settled.revision != service.resolved_revision:
        event = _event(service, Reason("resolved", f"revision {settled.revision}: {settled.resolution.why}"))
    return draft.decide(service, changes, event)


def _event(service: ServiceRecord, reason: Reason) -> Event:
    return Event(object=f"service/{service.name}", reason=reason.code, message=reason.message, actor="scheduler")


def _turn(draft: Draft, service: ServiceRecord, spec: ServiceSpec, *, blocked: bool) -> None:
    now = fleet(draft, service)
    change = turnover(now, service.wanted, surge=spec.rollout.max_surge, unavailable=spec.rollout.max_unavailable, blocked=blocked)
    for session in change.surplus:
        drain(draft, spec, session, Reason("stopped_by_user", _surplus(service)))
    for session in change.gone:
        drain(draft, spec, session, why_outgoing(draft, service, session))
    for _ in range(min(change.create, draft.snapshot.limits.created_at_once)):
        draft.create(service)


def why_outgoing(draft: Draft, service: ServiceRecord, session: SessionRecord) -> Reason:
    if outdated(service, session):
        return Reason("stopped_by_user", f"replaced by revision {service.revision}")
    return Reason("stopped_by_user", f"the node {session.node} is being drained")


def _surplus(service: ServiceRecord) -> str:
    return "no longer wanted: the service sleeps or is stopped" if service.wanted == 0 else f"no longer wanted: {service.wanted} are enough"
