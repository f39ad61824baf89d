"""How sessions go: withdrawn before they had a place, drained with time for their streams, or at once."""

from __future__ import annotations

from scheduler.draft import Draft
from stoker.records import Reason, ServiceRecord, SessionRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus

_S = SessionStatus
_GOING = frozenset({_S.PLACED, _S.STARTING, _S.READY, _S.ASLEEP})


def drain(draft: Draft, spec: ServiceSpec | None, session: SessionRecord, reason: Reason, *, at_once: bool = False) -> None:
    """PENDING is withdrawn. What serves may finish its streams for `drain_seconds`, and until its node's own deadline."""
    if session.status is _S.PENDING:
        draft.withdraw(session, reason)
        return
    until = draft.now
    if spec is not None and not at_once and session.status in (_S.READY, _S.LOST):
        until += spec.rollout.drain_seconds
        node = draft.snapshot.nodes.get(session.node or "")
        if node is not None and node.draining_until is not None:
            until = min(until, max(draft.now, node.draining_until))
    draft.drain(session, reason, until)


def drain_wishes(draft: Draft, service: ServiceRecord, spec: ServiceSpec) -> None:
    """Sessions that an admin call asked to `drain` or `kill`; whoever is still wanted is made anew."""
    for session in draft.of(service.name):
        if session.wish is None:
            continue
        reason = Reason("stopped_by_user", "stopped by an admin's call")
        if session.status is _S.PENDING or session.status in _GOING:
            drain(draft, spec, session, reason, at_once=session.wish == "kill")
        elif session.wish == "kill":
            hurry(draft, session, reason)


def hurry(draft: Draft, session: SessionRecord, reason: Reason) -> None:
    """A session that drains already gets no more time."""
    if session.status is _S.DRAINING and (session.drain_until or 0.0) > draft.now:
        draft.hasten(session, reason, draft.now)


def drain_unhealthy(draft: Draft, service: ServiceRecord, spec: ServiceSpec) -> None:
    """What answers no health check for `replace_after` seconds is replaced: one at a time, since all at once would rather be
    the checker's fault, and only while a router lives to see it.
    """
    sessions = draft.of(service.name)
    if not draft.snapshot.loads or any(session.status in (_S.DRAINING, _S.PLACED, _S.STARTING) for session in sessions):
        return
    for session in sessions:
        limit = session.assignment.resolution.health.replace_after if session.assignment else None
        seen = draft.snapshot.health.get(session.id)
        if session.status is not _S.READY or limit is None or seen is None or seen.health != "unhealthy":
            continue
        if draft.now - max(seen.since, session.ready_at or 0.0) >= limit:
            draft.drain(session, Reason("probe_failed", f"no health check has passed for {limit:g} s"), draft.now)
            return
