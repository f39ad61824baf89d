"""A deleted service, or sessions whose service nobody knows: everything goes, then the name is free."""

from __future__ import annotations

from scheduler.draft import Draft
from scheduler.leaving import drain, hurry
from scheduler.returning import returned
from stoker.records import Reason
from stoker.states import TERMINAL, SessionStatus

_S = SessionStatus


def dissolve(draft: Draft, name: str, *, now: bool) -> None:
    """1. what lives is drained, with `now` at once; what is LOST waits for its node, or for `node rm --lost`
    2. what has ended is forgotten, and the service with the last of it
    """
    reason = Reason("service_removed", "the service was deleted")
    back = {session.id for session in returned(draft, name)}
    for session in draft.of(name):  # (1)
        if session.status in TERMINAL or (session.status is _S.LOST and session.id not in back):
            continue
        if session.status is not _S.DRAINING:
            drain(draft, draft.specs.get(name), session, reason, at_once=now)
        elif now:
            hurry(draft, session, reason)
    if any(session.status not in TERMINAL for session in draft.of(name)):
        return
    for session in draft.of(name):  # (2)
        draft.prune(session)
    if name in draft.services:
        draft.forget(name)
