"""What a session's node does to it: refused, not taken up, lost with its node, written off."""

from __future__ import annotations

from scheduler.backoff import refused
from scheduler.draft import Draft
from stoker.planning.vitals import Vital
from stoker.records import NodeRecord, Reason, SessionRecord
from stoker.states import HOLDING, SessionStatus

_S = SessionStatus


def judge(draft: Draft) -> None:
    """Every session that holds something:

    1. its node was removed, or is unknown: written off
    2. its node has booted since, and its worker did not say how it ended: written off, nothing is left of it
    3. its node is lost: LOST, and nothing it holds is sold
    4. placed, but refused or not taken up in time: back to PENDING, and that node is not asked again for a while
    """
    for session in list(draft.sessions.values()):
        if session.status not in HOLDING:
            continue
        node = draft.snapshot.nodes.get(session.node or "")
        if node is None or node.removed:  # (1)
            _write_off(draft, session, Reason("node_lost", f"the node {session.node} was removed"))
        elif _booted_anew(draft, session, node):  # (2)
            _write_off(draft, session, Reason("node_lost", f"the node {node.name} was restarted"))
        elif draft.vitals[node.name] is Vital.LOST:  # (3)
            if session.status is not _S.LOST:
                draft.lose(session, _silence(draft, node))
        elif session.status is _S.PLACED:  # (4)
            _refused(draft, session, node)


def _write_off(draft: Draft, session: SessionRecord, reason: Reason) -> None:
    if session.status is not _S.LOST:
        session = draft.lose(session, reason)
    draft.write_off(session, reason)


def _booted_anew(draft: Draft, session: SessionRecord, node: NodeRecord) -> bool:
    before = session.assignment.boot_id if session.assignment else ""
    if not before or not node.boot_id or before == node.boot_id:
        return False
    waited = draft.now - node.registered_at > draft.snapshot.watch.lost_seconds
    return session.status is _S.LOST or waited


def _silence(draft: Draft, node: NodeRecord) -> Reason:
    limit = draft.snapshot.watch.lost_seconds
    return Reason("node_lost", f"the node {node.name} has not answered for more than {limit:g} s")


def _refused(draft: Draft, session: SessionRecord, node: NodeRecord) -> None:
    reason = session.refused
    if reason is None:
        limit = draft.snapshot.limits.taken_up_within
        if draft.now - (session.placed_at or draft.now) <= limit or draft.vitals[node.name] is not Vital.ALIVE:
            return
        reason = Reason("node_silent", f"the worker of {node.name} has not taken it up within {limit:g} s")
    service = draft.services.get(session.service)
    if service is not None:
        draft.decide(service, {"backoff": refused(service.backoff, node.name, draft.now)})
    draft.unplace(session, Reason(reason.code, f"{node.name} refused it: {reason.message}"))
