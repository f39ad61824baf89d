"""What a service's status is: derived, whenever somebody asks, from its record and its sessions. Nobody stores it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from stoker.records import Reason, ServiceRecord, SessionRecord
from stoker.states import COMING, ServiceStatus, SessionStatus


class Summary(NamedTuple):
    """`ready` and `wanted` count sessions; `reason` is there where the status is not the wanted one."""

    status: ServiceStatus
    ready: int
    wanted: int
    reason: Reason | None


def least(service: ServiceRecord) -> int:
    """The fewest replicas its spec allows; a plain number is both least and most."""
    replicas = service.spec.get("replicas", 1)
    return int(replicas.get("min", 0) if isinstance(replicas, dict) else replicas)


def is_stopped(service: ServiceRecord) -> bool:
    """`replicas: 0`: nothing wakes it. (`{min: 0}` sleeps and wakes.)"""
    replicas = service.spec.get("replicas", 1)
    return bool((replicas.get("max", 1) if isinstance(replicas, dict) else replicas) == 0)


def summarise(service: ServiceRecord, sessions: Iterable[SessionRecord], now: float, start_timeout: float = 1800.0) -> Summary:
    """The first that fits:

    1. STOPPING: deleted, sessions left.
    2. STOPPED: replicas 0.
    3. UNHEALTHY: none ready and the starts were given up (crash_loop).
    4. IDLE: min 0, none wanted, none live.
    5. HEALTHY: as many ready as wanted, or at least max(1, min) while the rest start within their start time.
    6. DEGRADED: some ready.
    7. PROVISIONING: none ready; one starts or waits for room.
    """
    mine = [s for s in sessions if s.service == service.name]
    ready = sum(s.status is SessionStatus.READY and s.wish is None for s in mine)
    coming = [s for s in mine if s.status in COMING]
    wanted = service.wanted
    reason = _reason(service, coming)
    if service.deleted_at is not None:
        return Summary(ServiceStatus.STOPPING, ready, 0, Reason("stopped_by_user", "the service was deleted"))
    if is_stopped(service):
        return Summary(ServiceStatus.STOPPED, ready, 0, Reason("stopped_by_user", "replicas is 0"))
    if service.backoff.gave_up and ready == 0:
        return Summary(ServiceStatus.UNHEALTHY, ready, wanted, reason)
    if least(service) == 0 and wanted == 0 and not coming and ready == 0:
        return Summary(ServiceStatus.IDLE, 0, 0, None)
    late = any(now - s.created_at > start_timeout for s in coming)
    growing = len(coming) + ready >= wanted and not late and service.backoff.failures == 0 and not any(s.reason for s in coming)
    if ready and (ready >= wanted or (ready >= max(1, least(service)) and growing)):
        return Summary(ServiceStatus.HEALTHY, ready, wanted, None)
    if ready:
        return Summary(ServiceStatus.DEGRADED, ready, wanted, reason)
    return Summary(ServiceStatus.PROVISIONING, 0, max(wanted, least(service)), reason)


def _reason(service: ServiceRecord, coming: list[SessionRecord]) -> Reason | None:
    if service.backoff.gave_up:
        last = service.backoff.last
        detail = f"; last: {last.message}" if last else ""
        return Reason("crash_loop", f"{service.backoff.failures} starts in a row failed{detail}")
    if service.reason is not None:
        return service.reason
    waiting = [s.reason for s in coming if s.reason is not None]
    return waiting[0] if waiting else service.backoff.last if service.backoff.failures else None
