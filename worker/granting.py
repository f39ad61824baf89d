"""The grant of one session: what its assignment asks for, and a port that is nobody's."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

from stoker.records import Assignment, Reason, SessionRecord
from worker import sockets
from worker.grants import Grant, live, port_candidates
from worker.journal import Held
from worker.node import Node

_TRIES = 200
"""Ports looked at before the node says that it has none."""


async def grant_for(node: Node, session: str, record: SessionRecord | None) -> Grant:
    """Booked in the journal and on the disk. Raises Held: nothing was granted, and the reason says why."""
    if record is None or record.assignment is None:
        raise Held(Reason("held_by", "the session has no assignment"))
    assignment = record.assignment
    if assignment.resolution.runtime != node.runtime.name:
        raise Held(Reason("engine_missing", f"this node has no runtime {assignment.resolution.runtime}"))

    def make(grants: Iterable[Grant]) -> Grant:
        return Grant(
            session=session,
            service=record.service,
            store=node.mirror.store_id,
            port=_port(node, assignment, list(grants)),
            memory=assignment.resolution.memory,
            gpus=assignment.gpus,
            granted_at=node.clock.now(),
        )

    try:
        return await node.journal.claim(session, node.room(), make)
    except OSError as error:
        raise Held(_unwritable(node.folder, error)) from error


def _port(node: Node, assignment: Assignment, grants: list[Grant]) -> int:
    """The spec's own, or the first free one. Raises Held(port_taken)."""
    fixed = assignment.resolution.port
    if fixed is not None:
        holder = next((grant.session for grant in live(grants) if grant.port == fixed), None)
        if holder is None and not sockets.can_bind(node.host, fixed):
            raise Held(Reason("port_taken", f"port {fixed} is in use by another process; leave `port:` out, and a free one is taken"))
        return fixed
    first, last = (int(end) for end in node.settings.port_range.split("-"))
    for number, port in enumerate(port_candidates(first, last, grants, node.clock.now(), node.name)):
        if number >= _TRIES:
            break
        if sockets.can_bind(node.host, port):
            return port
    raise Held(Reason("port_taken", f"no port of {first}-{last} is free on the node; widen STOKER_PORT_RANGE"))


def _unwritable(folder: Path, error: OSError) -> Reason:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Reason("disk_full", f"the disk of the node's directory {folder} is full: free some space")
    return Reason("disk_full", f"the node cannot write its journal in {folder}: {error.strerror}")
