"""Records drawn by hand for tests of decisions: a node, a service, a session, each with what the test cares about."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from model_variants.base import Variant
from model_variants.registry import load_variants
from scheduler.actions import Action
from scheduler.reconcile import reconcile
from scheduler.snapshot import Snapshot
from scheduler.spec_cache import SpecCache
from stoker.planning.vitals import Watch
from stoker.records import Assignment, DeviceShare, Gpu, NodeRecord, Reason, Resolution, ServiceRecord, SessionRecord
from stoker.states import SessionStatus

GIB = 2**30
NOW = 10_000.0


def gpu(id: str = "g0", model: str = "H100", memory: int = 80 * GIB, **more: Any) -> Gpu:
    return Gpu(id=id, model=model, vendor="mock", memory=memory, **more)


def node(name: str = "n1", *, gpus: int = 0, gpu_model: str = "H100", gpu_memory: int = 80 * GIB, **more: Any) -> NodeRecord:
    devices = tuple(gpu(f"{name}-g{i}", gpu_model, gpu_memory) for i in range(gpus))
    fields: dict[str, Any] = {"address": "127.0.0.1", "cpu": 16_000, "memory": 64 * GIB, "boot_id": f"{name}-boot", "gpus": devices}
    return NodeRecord(name=name, **(fields | more))


def service(
    name: str = "s", replicas: object = 1, *, revision: int = 1, spec: Mapping[str, Any] | None = None, **more: Any
) -> ServiceRecord:
    written = {"name": name, "model": "demo", "replicas": replicas, **(spec or {})}
    fields: dict[str, Any] = {"project": "default", "owner": "me", "version": revision, "resolve_at": revision, "created_at": NOW - 500}
    return ServiceRecord(name=name, spec=written, revision=revision, **(fields | more))


RESOLUTION = Resolution(variant="demo", why="", runtime="process", cpu=100, memory=GIB)


def session(
    id: str, status: SessionStatus, *, on: str | None = None, revision: int = 1, gpus: tuple[DeviceShare, ...] = (), **more: Any
) -> SessionRecord:
    """`id` is SERVICE-x; `on` the node it has an assignment for."""
    resolution = msgspec.structs.replace(RESOLUTION, gpus=len(gpus), gpu_share=gpus[0].share if gpus else 0)
    assignment = Assignment(revision=revision, resolution=resolution, spec={}, gpus=gpus, boot_id=f"{on}-boot") if on else None
    fields: dict[str, Any] = {"project": "default", "created_at": NOW - 100, "service": id.rpartition("-")[0]}
    if status is SessionStatus.READY:
        fields |= {"ready_at": NOW - 90, "address": "127.0.0.1:1"}
    if on:
        fields |= {"placed_at": NOW - 95}
    return SessionRecord(**{"id": id, "revision": revision, "status": status, "node": on, "assignment": assignment, **fields, **more})


def failed(id: str, at: float, code: str = "start_exit", *, on: str = "n1", ready_at: float | None = None, **more: Any) -> SessionRecord:
    reason = Reason(code, f"{code} happened")
    return session(id, SessionStatus.FAILED, on=on, ended_at=at, reason=reason, ready_at=ready_at, **more)


def snapshot(
    nodes: Iterable[NodeRecord] = (),
    services: Iterable[ServiceRecord] = (),
    sessions: Iterable[SessionRecord] = (),
    *,
    now: float = NOW,
    seen: Mapping[str, float] | None = None,
    watched_since: float = 0.0,
    **more: Any,
) -> Snapshot:
    """All nodes were seen just now, unless `seen` says otherwise."""
    by_name = {one.name: one for one in nodes}
    heard = {name: now for name in by_name} | dict(seen or {})
    return Snapshot(
        watch=Watch(now=now, seen=heard, watched_since=watched_since),
        services={one.name: one for one in services},
        sessions={one.id: one for one in sessions},
        nodes=by_name,
        **more,
    )


def ids(taken: Iterable[str] = ()) -> Callable[[str], str]:
    """NAME-new1, NAME-new2, …, each of which is free."""
    numbers, known = itertools.count(1), frozenset(taken)
    return lambda name: next(id for number in numbers if (id := f"{name}-new{number}") not in known)


def plan(snap: Snapshot, variants: Mapping[str, Variant] | None = None) -> list[Action]:
    """What the scheduler would do."""
    return reconcile(snap, SpecCache().read(snap.services), variants or load_variants(), ids(snap.sessions))
