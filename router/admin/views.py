"""From the store's records to what the admin calls show. Pure: everything that is needed is an argument."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

import msgspec

from router.admin import shapes
from stoker.records import Event, NodeRecord, ServiceRecord, SessionRecord, TokenRecord
from stoker.settings import Settings
from stoker.states import HOLDING, TERMINAL
from stoker.status import node_status, summarise

_START_TIMEOUT = 1800.0


def moment(seconds: float | None) -> str | None:
    """RFC 3339 in UTC with milliseconds; None for a time that was not."""
    if not seconds:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cores(millis: int) -> float:
    return millis / 1000


def fraction(share: int) -> float:
    return share / 100


def service(record: ServiceRecord, sessions: Iterable[SessionRecord], names: Iterable[str], now: float) -> shapes.Service:
    """`names` are what clients may call it; `sessions` may hold those of other services too."""
    mine = [session for session in sessions if session.service == record.name]
    resolved = record.resolved
    summary = summarise(record, mine, now, resolved.health.start_timeout if resolved else _START_TIMEOUT)
    return shapes.Service(
        name=record.name,
        project=record.project,
        owner=record.owner,
        labels=record.spec.get("labels", {}),
        status=summary.status.value,
        reason=summary.reason,
        version=record.version,
        revision=record.revision,
        endpoint=record.endpoint,
        model_name=list(names),
        variant=resolved.variant if resolved else record.spec.get("variant", "auto"),
        open_to_public=record.spec.get("open_to_public") is True,
        replicas=shapes.Replicas(summary.wanted, summary.ready),
        sessions=sorted(session.id for session in mine if session.status not in TERMINAL),
        created_at=moment(record.created_at),
        updated_at=moment(record.updated_at),
        spec=record.spec,
    )


def applied(view: shapes.Service, *, created: bool, changed: bool, notes: list[str]) -> shapes.Applied:
    fields = {name: getattr(view, name) for name in view.__struct_fields__}
    return shapes.Applied(**fields, created=created, changed=changed, notes=notes)


def session(record: SessionRecord) -> shapes.Session:
    gpus = record.assignment.gpus if record.assignment else ()
    return shapes.Session(
        id=record.id,
        service=record.service,
        project=record.project,
        revision=record.revision,
        node=record.node,
        status=record.status.value,
        phase=record.phase.value if record.phase else None,
        reason=record.reason,
        address=record.address,
        gpus=[shapes.Device(gpu.device, fraction(gpu.share), gpu.memory) for gpu in gpus],
        pid=record.pid if record.pid is not None else msgspec.UNSET,
        container=record.container if record.container is not None else msgspec.UNSET,
        restarts=record.restarts,
        weight=record.weight,
        created_at=moment(record.created_at),
        placed_at=moment(record.placed_at),
        started_at=moment(record.started_at),
        ready_at=moment(record.ready_at),
        ended_at=moment(record.ended_at),
    )


def node(record: NodeRecord, sessions: Iterable[SessionRecord], last_seen: float | None, now: float, settings: Settings) -> shapes.Node:
    """`last_seen` and `now` by the store's clock; `sessions` may hold those of other nodes too."""
    held = [s for s in sessions if s.node == record.name and s.status in HOLDING]
    assigned = [s.assignment for s in held if s.assignment is not None]
    shares: dict[str, int] = {}
    for assignment in assigned:
        for gpu in assignment.gpus:
            shares[gpu.device] = shares.get(gpu.device, 0) + gpu.share
    total = shapes.Amounts(cores(record.cpu), record.memory, len(record.gpus))
    used = shapes.Amounts(
        cores(sum(a.resolution.cpu for a in assigned)), sum(a.resolution.memory for a in assigned), fraction(sum(shares.values()))
    )
    age = None if last_seen is None else now - last_seen
    return shapes.Node(
        name=record.name,
        status=node_status(record, age, settings),
        reason=record.reason,
        group=record.group,
        labels=record.labels,
        address=record.address,
        runtimes=list(record.runtimes),
        engines=[shapes.NodeEngine(engine.name, engine.version) for engine in record.engines],
        resources=shapes.NodeResources(total, used),
        gpus=[_gpu(record, index, shares) for index in range(len(record.gpus))],
        sessions=sorted(s.id for s in held),
        last_seen=moment(last_seen),
    )


def _gpu(record: NodeRecord, index: int, shares: dict[str, int]) -> shapes.NodeGpu:
    gpu = record.gpus[index]
    return shapes.NodeGpu(
        id=gpu.id,
        model=gpu.model,
        vendor=gpu.vendor,
        memory=gpu.memory,
        used_share=fraction(shares.get(gpu.id, 0)),
        foreign_memory=gpu.foreign_memory,
        status="cordoned" if gpu.status == "ok" and gpu.id in record.cordoned_gpus else gpu.status,
        reason=gpu.reason,
    )


def event(record: Event) -> shapes.Happening:
    return shapes.Happening(moment(record.time) or "", record.object, record.reason, record.message, record.actor)


def token(record: TokenRecord, *, secret: str | None = None, replaces: str | None = None, notes: list[str] | None = None) -> shapes.Token:
    return shapes.Token(
        id=record.id,
        name=record.name,
        project=record.project,
        role=record.role,
        services=list(record.services),
        created_at=moment(record.created_at),
        expires_at=moment(record.expires_at),
        last_used_at=moment(record.last_used_at),
        limits=record.limits,
        token=secret if secret is not None else msgspec.UNSET,
        replaces=replaces if replaces is not None else msgspec.UNSET,
        notes=notes if notes is not None else msgspec.UNSET,
    )


def with_sessions(view: shapes.Node, sessions: Iterable[SessionRecord]) -> shapes.Node:
    """The same node with only these sessions by name."""
    return msgspec.structs.replace(view, sessions=sorted(session.id for session in sessions))
