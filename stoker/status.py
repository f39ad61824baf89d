"""What a service's status is: derived, whenever somebody asks, from its record and its sessions. Nobody stores it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from stoker.records import HealthCheck, NodeRecord, Reason, ServiceRecord, SessionRecord
from stoker.settings import Settings
from stoker.states import COMING, ServiceStatus, SessionStatus

_STOPPED = "replicas is 0; start it with: stoker service scale {name} 1"


class Summary(NamedTuple):
    """`ready` and `wanted` count sessions; `reason` is there where the status is not the wanted one."""

    status: ServiceStatus
    ready: int
    wanted: int
    reason: Reason | None


def least(service: ServiceRecord) -> int:
    """The fewest replicas its spec allows; a plain number is both least and most."""
    return _bounds(service)[0]


def most(service: ServiceRecord) -> int:
    """The most replicas its spec allows."""
    return _bounds(service)[1]


def _bounds(service: ServiceRecord) -> tuple[int, int]:
    replicas = service.spec.get("replicas", 1)
    if not isinstance(replicas, dict):
        return replicas, replicas
    low = replicas.get("min", 1)
    return low, replicas.get("max", max(low, 1))


def is_stopped(service: ServiceRecord) -> bool:
    """`replicas: 0`: nothing wakes it. (`{min: 0}` sleeps and wakes.)"""
    return most(service) == 0


def summarise(service: ServiceRecord, sessions: Iterable[SessionRecord], now: float, start_timeout: float | None = None) -> Summary:
    """The status of a service. `start_timeout` in seconds; None takes it from the service's resolution. The first that fits:

    1. STOPPING: deleted, sessions left
    2. STOPPED: replicas 0
    3. UNHEALTHY: none ready, and the starts were given up (crash_loop)
    4. IDLE: min 0, none wanted, none ready and none coming; a request wakes it
    5. HEALTHY: as many ready as wanted, or at least max(1, min) while the rest start within their start time
    6. DEGRADED: some ready
    7. PROVISIONING: none ready; one starts or waits for room
    """
    mine = [s for s in sessions if s.service == service.name]
    ready = sum(s.status is SessionStatus.READY and s.wish is None for s in mine)
    coming = [s for s in mine if s.status in COMING]
    wanted = min(max(service.wanted, least(service)), most(service))
    reason = _reason(service, coming)
    if service.deleted_at is not None:  # 1
        return Summary(ServiceStatus.STOPPING, ready, 0, Reason("stopped_by_user", "the service was deleted"))
    if is_stopped(service):  # 2
        return Summary(ServiceStatus.STOPPED, ready, 0, Reason("stopped_by_user", _STOPPED.format(name=service.name)))
    if service.backoff.gave_up and ready == 0:  # 3
        return Summary(ServiceStatus.UNHEALTHY, ready, wanted, reason)
    if wanted == 0 and not coming and ready == 0:  # 4
        return Summary(ServiceStatus.IDLE, 0, 0, None)
    grows = len(coming) + ready >= wanted and _all_well(service, coming, now, start_timeout)
    if ready and (ready >= wanted or (ready >= max(1, least(service)) and grows)):  # 5
        return Summary(ServiceStatus.HEALTHY, ready, wanted, None)
    if ready:  # 6
        return Summary(ServiceStatus.DEGRADED, ready, wanted, reason)
    return Summary(ServiceStatus.PROVISIONING, 0, max(wanted, 1), reason)  # 7


def node_status(record: NodeRecord, age: float | None, settings: Settings) -> str:
    """The first that fits: lost, silent (no heartbeat for so many seconds; `age` None: never one), draining, cordoned, ready."""
    if age is None or age > settings.node_lost_seconds:
        return "lost"
    if age > settings.node_silent_seconds:
        return "silent"
    if record.draining_until is not None:
        return "draining"
    return "cordoned" if record.cordoned else "ready"


def _all_well(service: ServiceRecord, coming: list[SessionRecord], now: float, start_timeout: float | None) -> bool:
    """Whether those that are coming do so without trouble and within their start time."""
    if start_timeout is None:
        start_timeout = service.resolved.health.start_timeout if service.resolved else HealthCheck().start_timeout
    late = any(now - (s.placed_at or s.created_at) > start_timeout for s in coming)
    return not late and service.backoff.failures == 0 and not any(s.reason for s in coming)


def _reason(service: ServiceRecord, coming: list[SessionRecord]) -> Reason | None:
    """What keeps it from being as wanted: given up, the service's own reason, a waiting session's, the last failure."""
    backoff = service.backoff
    if backoff.gave_up:
        count = (
            f"{backoff.failures} starts in a row failed"
            if backoff.failures
            else f"it ended unasked {len(backoff.exits)} times in 10 minutes"
        )
        last = f" (the last: {backoff.last.message})" if backoff.last else ""
        return Reason("crash_loop", f"{count}{last}; change the spec, or try again with: stoker service restart {service.name}")
    if service.reason is not None:
        return service.reason
    waiting = [s.reason for s in coming if s.reason is not None]
    return waiting[0] if waiting else backoff.last if backoff.failures else None
