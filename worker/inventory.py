"""What this node offers, as the store is told: taken anew now and then, written when it differs."""

from __future__ import annotations

import os
import secrets

import msgspec

from stoker.records import Gpu, NodeRecord, Reason
from worker import engines, machine
from worker.node import Node
from worker.runtimes.supervisor_files import boot_id

SECONDS = 10.0
"""Between two looks."""


def look(node: Node) -> None:
    """Take stock of devices and engines. Slow: it reads directories and asks drivers."""
    settings = node.settings
    node.engines = engines.detect(settings.data_dir / "engines", settings.engine_path, os.environ.get("PATH", ""))
    node.gpus = tuple(_with_stuck(gpu, node.stuck.get(gpu.id)) for gpu in node.devices.inventory(node.our_pids))


def record(node: Node, worker_url: str, facts: dict[str, dict[str, object]]) -> NodeRecord:
    """The whole record as of the last look."""
    settings = node.settings
    return NodeRecord(
        name=node.name,
        address=settings.node_address,
        worker_url=worker_url,
        instance=secrets.token_hex(6),
        boot_id=boot_id(),
        group=settings.resource_group,
        labels=settings.node_labels,
        runtimes=(node.runtime.name,),
        engines=node.engines,
        cpu=machine.cpu_millis(),
        memory=node.memory,
        gpus=node.gpus,
        facts=facts,
        reason=trouble(node),
    )


def trouble(node: Node) -> Reason | None:
    """What an operator should know about this node."""
    if node.journal.broken:
        names = ", ".join(sorted(node.journal.broken))
        return Reason("held_by", f"journal entries cannot be read: {names}; no GPU is granted while their sessions may run")
    if not node.believed:
        return Reason("held_by", "the store has gone backwards (a backup, a stale replica): nothing is stopped because it does not know it")
    known = node.mirror.store_id  # empty while nothing has been read from the store
    foreign = sorted(g.session for g in node.journal.grants.values() if known and g.ended_at is None and g.store != known)
    if foreign:
        return Reason("held_by", f"sessions of another data set run here and are left alone: {', '.join(foreign)}")
    return None


def changed(old: NodeRecord, new: NodeRecord) -> dict[str, object]:
    """The fields to write, so that a quiet node writes nothing; `instance` stays what was registered."""
    fields = (name for name in old.__struct_fields__ if name not in ("instance", "registered_at"))
    return {name: getattr(new, name) for name in fields if getattr(new, name) != getattr(old, name)}


def _with_stuck(gpu: Gpu, reason: Reason | None) -> Gpu:
    return gpu if reason is None else msgspec.structs.replace(gpu, status="stuck", reason=reason)
