"""Journal entries that cannot be read: what their sessions hold is found out, or stays booked."""

from __future__ import annotations

import logging

from worker.grants import Grant
from worker.node import Node
from worker.runtimes.base import Running

log = logging.getLogger(__name__)


async def recover_broken(node: Node) -> None:
    """For each: nothing runs → it holds nothing; it runs and the store knows it → a grant like the one that was lost;
    it runs and nobody knows it → it stays unreadable, and no GPU of this node is granted.
    """
    for session in list(node.journal.broken):
        found = await node.runtime.find(session)
        record = node.mirror.sessions.get(session)
        if not isinstance(found, Running):
            log.warning("the unreadable journal entry of %s is put aside: nothing of it runs", session)
            await node.journal.drop_broken(session)
        elif record is not None and record.assignment is not None and record.node == node.name:
            _, _, port = (record.address or "").rpartition(":")
            log.warning("the unreadable journal entry of %s is written anew from the store's record", session)
            await node.journal.restore(
                Grant(
                    session=session,
                    service=record.service,
                    store=node.mirror.store_id,
                    port=int(port or 0),
                    memory=record.assignment.resolution.memory,
                    gpus=record.assignment.gpus,
                    granted_at=record.started_at or node.clock.now(),
                )
            )
        else:
            log.error("%s runs, but neither the journal nor the store knows what it holds: no GPU of this node is granted", session)
