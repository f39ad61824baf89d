"""What the admin calls answer: one struct per object of the public contract, section 4. /admin/openapi.json is made from them.

CPU in cores, memory in bytes, GPU shares as fractions of a device; times RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from stoker.records import Reason

ItemT = TypeVar("ItemT")


class Page(msgspec.Struct, Generic[ItemT], frozen=True):
    """A listing; `next` is the cursor of the page behind this one."""

    items: list[ItemT]
    next: str | None = None


class Replicas(msgspec.Struct, frozen=True):
    wanted: int
    ready: int


class Service(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    project: str
    owner: str
    labels: dict[str, str]
    status: str
    reason: Reason | None
    version: int
    revision: int
    endpoint: str
    model_name: list[str]
    variant: str
    open_to_public: bool
    replicas: Replicas
    sessions: list[str]
    created_at: str | None
    updated_at: str | None
    spec: dict[str, Any]


class Applied(Service, frozen=True, kw_only=True):
    """The service after a write: whether it is new, whether anything changed, and what of the spec has no effect."""

    created: bool
    changed: bool
    notes: list[str]


class Device(msgspec.Struct, frozen=True):
    device: str
    share: float
    memory: int


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    id: str
    service: str
    project: str
    revision: int
    node: str | None
    status: str
    phase: str | None
    reason: Reason | None
    address: str | None
    gpus: list[Device]
    pid: int | msgspec.UnsetType = msgspec.UNSET
    container: str | msgspec.UnsetType = msgspec.UNSET
    restarts: int
    weight: int
    created_at: str | None
    placed_at: str | None
    started_at: str | None
    ready_at: str | None
    ended_at: str | None


class Amounts(msgspec.Struct, frozen=True):
    cpu: float
    memory: int
    gpu: float


class NodeResources(msgspec.Struct, frozen=True):
    total: Amounts
    used: Amounts


class NodeGpu(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    model: str
    vendor: str
    memory: int
    used_share: float
    foreign_memory: int
    status: str
    reason: Reason | None


class NodeEngine(msgspec.Struct, frozen=True):
    name: str
    version: str


class Node(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    status: str
    reason: Reason | None
    group: str
    labels: dict[str, str]
    address: str
    runtimes: list[str]
    engines: list[NodeEngine]
    resources: NodeResources
    gpus: list[NodeGpu]
    sessions: list[str]
    last_seen: str | None


class Route(msgspec.Struct, frozen=True):
    """`in_flight` and `waiting` (of its service) count this router's requests; `failures` those since its last good answer."""

    session: str
    service: str
    address: str
    health: str
    weight: int
    in_flight: int
    limit: int
    waiting: int
    failures: int
    reason: Reason | None


class Happening(msgspec.Struct, frozen=True):
    """An event."""

    time: str
    object: str
    reason: str
    message: str
    actor: str


class Revision(msgspec.Struct, frozen=True):
    revision: int
    version: int
    actor: str
    current: bool
    spec: dict[str, Any]


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """`token` is there once: in the answer to the call that made it, with `notes` on what of it has no effect yet."""

    id: str
    name: str
    project: str
    role: str
    services: list[str]
    created_at: str | None
    expires_at: str | None
    last_used_at: str | None
    limits: dict[str, int]
    token: str | msgspec.UnsetType = msgspec.UNSET
    replaces: str | msgspec.UnsetType = msgspec.UNSET
    notes: list[str] | msgspec.UnsetType = msgspec.UNSET


class Variant(msgspec.Struct, frozen=True):
    name: str
    title: str
    aliases: list[str]
    engine: str | None
    image: str | None
    needs_gpu: bool
    options: dict[str, Any]


class Model(msgspec.Struct, frozen=True):
    """A model that some node has looked at, or that lies in the model store. `missing` maps a node to why it has none."""

    name: str
    nodes: list[str]
    missing: dict[str, str]
    facts: dict[str, Any] | None
    services: list[str]


class InstalledEngine(msgspec.Struct, frozen=True):
    name: str
    version: str
    node: str


class Resolved(msgspec.Struct, frozen=True):
    """What `auto` and the defaults choose; `gpu` as in a spec."""

    variant: str
    runtime: str
    engine: str | None
    image: str | None
    model_revision: str | None
    gpu: float
    why: str


class Term(msgspec.Struct, frozen=True):
    term: str
    bytes: int


class Place(msgspec.Struct, frozen=True):
    node: str
    gpus: list[Device]
    score: float


class NodeRefusal(msgspec.Struct, frozen=True):
    node: str
    code: str
    message: str


class Nearest(msgspec.Struct, frozen=True):
    """A change that would make it fit."""

    change: str
    sentence: str


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it fits, and where; `fits` None where no node has published the facts of the model yet."""

    fits: bool | None = None
    reason: Reason | None = None
    resolved: Resolved | None = None
    argv: list[str] = []
    env: dict[str, str] = {}
    memory: list[Term] = []
    placement: list[Place] = []
    refused: list[NodeRefusal] = []
    evicts: list[str] = []
    nearest: list[Nearest] = []
    diff: list[str] = []
    notes: list[str] = []
