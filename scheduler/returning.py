"""Sessions of a node that was lost and answers again: kept where they are needed, drained where they were replaced."""

from __future__ import annotations

from scheduler.draft import Draft
from scheduler.leaving import drain
from stoker.planning.vitals import Vital
from stoker.records import Reason, ServiceRecord, SessionRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus

_S = SessionStatus


def receive(draft: Draft, service: ServiceRecord, spec: ServiceSpec) -> None:
    """1. it was draining, is of an old revision, never became READY, or enough others serve: drain it
    2. else it is READY again; a worker that finds it dead says FAILED then, as of any other
    """
    for session in returned(draft, service.name):
        serving = [s for s in draft.of(service.name) if s.status is _S.READY and s.revision == service.revision and s.wish is None]
        kept = session.address is not None and session.draining_at is None and session.wish is None
        if kept and session.revision == service.revision and len(serving) < service.wanted:
            draft.recover(session)  # (2)
        else:
            drain(draft, spec, session, Reason("node_lost", "the node came back, and the session is no longer needed"))  # (1)


def returned(draft: Draft, service: str) -> list[SessionRecord]:
    """The LOST ones whose node answers, the oldest first."""
    found = [s for s in draft.of(service) if s.status is _S.LOST and draft.vitals.get(s.node or "") is Vital.ALIVE]
    return sorted(found, key=lambda session: (session.created_at, session.id))
