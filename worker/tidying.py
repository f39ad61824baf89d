"""What is kept of sessions that ended: journal entries until their ports have cooled, logs while the store knows the session."""

from __future__ import annotations

from collections.abc import Collection

from worker.node import Node

MOST_LOGS = 500
"""Sessions whose logs are kept at all; beyond that the oldest go, even those the store knows."""


async def tidy(node: Node, attended: Collection[str]) -> None:
    """Only what ended long ago, and nothing because of a store that does not know us."""
    await node.journal.forget_cold(node.clock.now())
    if not (node.believed and node.mirror.connected and node.mirror.sessions):
        return
    kept = {*attended, *node.journal.grants, *node.journal.broken}
    ended = [session for session in node.runtime.sessions() if session not in kept]
    forgotten = [session for session in ended if session not in node.mirror.sessions]
    ended.sort(key=lambda session: node.runtime.folder(session).stat().st_mtime)
    for session in {*forgotten, *ended[: max(0, len(ended) - MOST_LOGS)]}:
        await node.runtime.remove(session)
