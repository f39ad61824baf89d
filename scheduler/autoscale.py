"""How many sessions a service should have now. Arithmetic over loads and `now`; no data means no change.

Today: a plain number, or `min` with zero and back. Following the load between min and max comes here too: it has the
loads of every router, and `previous`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stoker.records import Load, ServiceRecord
from stoker.specs import ServiceSpec


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about the requests of one service. `loads` has one entry per live router (empty where it has none of
    this service); None if no router lives. `active_at`: the last sign of a request or of a start that any scheduler could
    see; `watched_since`: from when on this one would have seen one. `starting`: a session is on its way.
    """

    loads: tuple[Load, ...] | None
    active_at: float = 0.0
    watched_since: float = 0.0
    starting: bool = False


def wanted(spec: ServiceSpec, service: ServiceRecord, demand: Demand, now: float) -> tuple[int, str]:
    """The number of sessions, and why in a few words.

    1. a plain number is that number
    2. min of {min, max}, if that is at least one
    3. sleeping: one as soon as a request waits or has woken it
    4. awake: none after idle_seconds without a sign of a request, and only if somebody could have seen one
    """
    replicas = spec.replicas
    if replicas.fixed:
        return replicas.min, f"replicas is {replicas.min}"  # (1)
    if replicas.min > 0:
        return replicas.min, f"replicas.min is {replicas.min}"  # (2)
    idle = spec.autoscaling.idle_seconds
    busy = any(load.in_flight or load.waiting for load in demand.loads or ())
    active_at = max(demand.active_at, service.woken_at)
    if service.wanted == 0:  # (3)
        woken = busy or (service.woken_at > 0 and now - service.woken_at < min(idle or _WAKE_SECONDS, _WAKE_SECONDS))
        return (1, "a request waits") if woken else (0, "no request waits")
    if not spec.autoscaling.enabled or idle is None or demand.loads is None:
        return 1, "kept"
    if busy or demand.starting or now - max(active_at, demand.watched_since) < idle:  # (4)
        return 1, "in use"
    return 0, f"no request for {idle:g} s"


_WAKE_SECONDS = 60.0
"""For so long a request's call to wake a service is followed, even if no scheduler led when it came."""


def demand_of(name: str, loads: Mapping[str, Mapping[str, Load]]) -> tuple[Load, ...] | None:
    """One entry per live router; None without any."""
    return tuple(by_service.get(name, Load()) for by_service in loads.values()) if loads else None


def last_request(name: str, loads: Mapping[str, Mapping[str, Load]]) -> float:
    return max((load.last_request_at for by_service in loads.values() if (load := by_service.get(name))), default=0.0)
