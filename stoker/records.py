"""What the store holds, as frozen structs. Amounts: CPU in millicores, memory in bytes, GPU in hundredths of a device;
times in seconds since the epoch, by the store's clock. Each record says who owns which field; nobody else writes it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stoker.states import Phase, SessionStatus


class Reason(msgspec.Struct, frozen=True):
    """Why something is not as wanted: a code of the public contract and a sentence that a user can act on."""

    code: str
    message: str

    def __post_init__(self) -> None:
        """One sentence on one line, whatever an engine, a library or another version wrote: it stands in tables."""
        if len(self.message.splitlines()) > 1:
            words = " | ".join(line.strip() for line in self.message.splitlines() if line.strip())
            msgspec.structs.force_setattr(self, "message", words)


class DeviceShare(msgspec.Struct, frozen=True):
    """A part of one GPU: `share` in hundredths (100 is the whole device), `memory` bytes booked on it."""

    device: str
    share: int
    memory: int = 0


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How a session is probed. Seconds; `path` None means that a TCP connect is the probe (also when not `enable`)."""

    enable: bool = True
    path: str | None = "/health"
    interval: float = 10.0
    max_retries: int = 10
    max_wait_time: float = 15.0
    expected_status_code: int = 200
    start_timeout: float = 1800.0
    replace_after: float | None = 300.0


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """What `auto` and the defaults chose for one revision of a service, from its spec and the facts of its model.

    Frozen with the revision: a session started next week starts the same thing.
    `gpus` devices with `gpu_share` hundredths each (both 0 without GPU); where `gpu_share_of_memory` is set, the share
    follows from that many bytes and the memory of the device picked. `port` None: a free one of the node. `model_file`: the file
    of the model folder that is meant, where one is; `embedding`: the model gives vectors, not text.
    """

    variant: str
    why: str
    runtime: str
    engine: str | None = None
    image: str | None = None
    model_path: str | None = None
    model_file: str | None = None
    embedding: bool = False
    model_revision: str | None = None
    model_names: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    port: int | None = None
    cpu: int = 0
    memory: int = 0
    gpus: int = 0
    gpu_share: int = 0
    gpu_memory: int = 0
    gpu_share_of_memory: int = 0
    memory_terms: tuple[tuple[str, int], ...] = ()
    max_concurrency: int = 256
    health: HealthCheck = HealthCheck()
    takes_key: bool = False
    upstream_model: str | None = None
    refused_paths: tuple[str, ...] = ()
    facts_digest: str = ""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is told to run: complete, so that the worker needs nothing else. Secrets are references only.

    `boot_id` is the node's when the session was placed: after another boot nothing of the session is left there.
    """

    revision: int
    resolution: Resolution
    spec: dict[str, Any]
    gpus: tuple[DeviceShare, ...] = ()
    boot_id: str = ""


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One replica. Scheduler: status arrows of its own, assignment, reason while PENDING, drain_until.
    Worker: its own arrows, phase, address, pid, container, refused. Admin calls: weight, wish.
    """

    id: str
    service: str
    project: str
    revision: int
    status: SessionStatus
    phase: Phase | None = None
    reason: Reason | None = None
    node: str | None = None
    assignment: Assignment | None = None
    address: str | None = None
    pid: int | None = None
    container: str | None = None
    restarts: int = 0
    weight: int = 100
    wish: str | None = None
    refused: Reason | None = None
    drain_until: float | None = None
    created_at: float = 0.0
    placed_at: float | None = None
    started_at: float | None = None
    phase_at: float | None = None
    ready_at: float | None = None
    draining_at: float | None = None
    ended_at: float | None = None


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How a service's starts have failed. `failures` in a row without READY; `exits` are the times of the recent ones
    after READY; no start before `not_before`; `gave_up` is crash_loop. Nodes by failures in a row there (two exclude one),
    and nodes that refused a session, by the time until which they are not asked again.
    """

    failures: int = 0
    exits: tuple[float, ...] = ()
    not_before: float = 0.0
    gave_up: bool = False
    node_failures: dict[str, int] = {}
    avoid: dict[str, float] = {}
    last: Reason | None = None


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A service. Admin calls own spec, version, revision, resolve_at, woken_at, deleted_at; the scheduler owns wanted,
    resolved, resolved_revision, reason and backoff. `spec` is what was applied, in JSON form. `resolve_at` is the oldest
    revision whose resolution may still be used: a plain restart keeps it, a new spec or --refresh raises it.
    """

    name: str
    project: str
    owner: str
    spec: dict[str, Any]
    version: int = 1
    revision: int = 1
    resolve_at: int = 1
    endpoint: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    deleted_at: float | None = None
    drop_now: bool = False
    woken_at: float = 0.0
    wanted: int = 0
    resolved: Resolution | None = None
    resolved_revision: int = 0
    reason: Reason | None = None
    backoff: Backoff = Backoff()


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One device of a node; `memory` and `foreign_memory` in bytes. status: ok | cordoned | fault | foreign | stuck."""

    id: str
    model: str
    vendor: str
    memory: int
    foreign_memory: int = 0
    status: str = "ok"
    reason: Reason | None = None


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """An installation of an inference server on a node; `prefix` is its environment's directory."""

    name: str
    version: str
    prefix: str


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A machine with a worker. The worker owns all but `cordoned`, `draining_until`, `cordoned_gpus` and `removed`,
    which admin calls own. `facts` maps a model reference of some service's spec to what the node found there:
    a `model_variants.facts.ModelFacts` in JSON form, or {"missing": sentence}. `last_seen` is not here: see Nodes.seen.
    """

    name: str
    address: str
    worker_url: str = ""
    instance: str = ""
    boot_id: str = ""
    group: str = "default"
    labels: dict[str, str] = {}
    runtimes: tuple[str, ...] = ("process",)
    engines: tuple[Engine, ...] = ()
    cpu: int = 0
    memory: int = 0
    gpus: tuple[Gpu, ...] = ()
    facts: dict[str, dict[str, Any]] = {}
    reason: Reason | None = None
    registered_at: float = 0.0
    cordoned: bool = False
    draining_until: float | None = None
    cordoned_gpus: tuple[str, ...] = ()
    removed: bool = False


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer secret; only its SHA-256 (hex) is kept. role: admin | deployer | viewer | user. services () is all."""

    id: str
    hash: str
    name: str = ""
    project: str = "default"
    role: str = "user"
    services: tuple[str, ...] = ()
    created_at: float = 0.0
    expires_at: float | None = None
    last_used_at: float | None = None
    limits: dict[str, int] = {}
    hidden: bool = False


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to `object` (`service/NAME`, `session/ID`, `node/NAME`), and who did it."""

    object: str
    reason: str
    message: str
    actor: str
    time: float = 0.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one router says about one service: requests in flight and waiting now, and when the last one came."""

    in_flight: int = 0
    waiting: int = 0
    last_request_at: float = 0.0


class RouteHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the router that probes a session last saw: healthy | unhealthy | probing, misses in a row, since when."""

    health: str = "healthy"
    misses: int = 0
    since: float = 0.0
    reason: Reason | None = None
