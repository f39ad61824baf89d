"""What is no longer worth keeping: ended sessions beyond a number per service, and removed nodes that hold nothing."""

from __future__ import annotations

from scheduler.draft import Draft
from stoker.states import HOLDING, TERMINAL


def clean(draft: Draft) -> None:
    """Those that never had a place go first: they tell nothing about failures."""
    kept = draft.snapshot.limits.ended_sessions_kept
    for name in draft.services:
        ended = [session for session in draft.of(name) if session.status in TERMINAL]
        if len(ended) > kept:
            ended.sort(key=lambda s: (s.placed_at is not None, s.ended_at or 0.0, s.id), reverse=True)
            for session in ended[kept:]:
                draft.prune(session)
    removed = {name for name, node in draft.snapshot.nodes.items() if node.removed}
    if removed:
        held = {session.node for session in draft.sessions.values() if session.status in HOLDING}
        for name in sorted(removed - held):
            draft.forget_node(name)
