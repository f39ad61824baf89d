"""Is a service up yet? Decided from what the router says of it, once per look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from stoker.states import TERMINAL

Json = Mapping[str, Any]

SETTLE_SECONDS = 2.0
"""How long a bad state must stand: nodes that just came up publish their models within this."""

HOPELESS = frozenset(
    {"no_fit", "model_missing", "model_unsupported", "engine_missing", "secret_missing", "quota_exceeded", "definition_failed"}
)
"""Reasons that waiting alone does not cure."""


class Phase(StrEnum):
    PLACING = "placing"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"


class Look(NamedTuple):
    """`detail` is for people. `done` None: not yet; True: as wanted; False: it will not come, and `detail` says why."""

    phase: Phase
    detail: str
    done: bool | None = None
    resting: bool = False


class Watch:
    """One start of one service; `look` is called with what the router says until `done` is not None."""

    def __init__(self) -> None:
        self._bad_since: float | None = None
        self._bad = ""

    def look(self, service: Json, sessions: Sequence[Json], now: float) -> Look:
        """`now` in seconds of any clock that does not jump. The first that fits:

        1. Stopped or asleep by its own replicas: as wanted.
        2. HEALTHY, and enough sessions of the current revision are READY.
        3. Given up, or hindered by what waiting does not cure, for SETTLE_SECONDS.
        4. On its way: the phase of the session that is furthest.
        """
        mine = [s for s in sessions if s["revision"] == service["revision"]]
        ready = [s for s in mine if s["status"] == "READY"]
        phase, detail = furthest(mine)
        resting = resting_words(service)
        if resting:  # (1)
            return Look(Phase.READY, resting, True, resting=True)
        if service["status"] == "HEALTHY" and len(ready) >= max(1, least(service)):  # (2)
            return Look(Phase.READY, ", ".join(f"{s['id']} on {s['node']}" for s in ready), True)
        reason = service.get("reason") or next((s["reason"] for s in mine if s.get("reason") and s["status"] == "PENDING"), None)
        if self._stands(_hopeless(service, reason), now):  # (3)
            return Look(phase, self._bad, False)
        return Look(phase, detail or (reason["message"] if reason else ""))  # (4)

    def _stands(self, words: str, now: float) -> bool:
        """Whether the service has been in a bad state for long enough; `words` is "" while it is not in one."""
        if not words:
            self._bad_since = None
            return False
        if self._bad_since is None:
            self._bad_since = now
        self._bad = words
        return now - self._bad_since >= SETTLE_SECONDS


def furthest(sessions: Sequence[Json]) -> tuple[Phase, str]:
    """The phase of the session that is nearest to being ready, and which one it is."""
    best, detail = Phase.PLACING, ""
    order = list(Phase)
    for session in sessions:
        phase = phase_of(session)
        if phase is not None and order.index(phase) >= order.index(best):
            best, detail = phase, f"{session['id']} on {session['node']}" if session.get("node") else ""
    return best, detail


def phase_of(session: Json) -> Phase | None:
    """Of one session; None where it is over or going."""
    match session["status"]:
        case "PENDING":
            return Phase.PLACING
        case "PLACED":
            return Phase.STARTING
        case "STARTING":
            return Phase.LOADING if session.get("phase") in ("loading", "warming") else Phase.STARTING
        case "READY":
            return Phase.READY
    return None


def resting_words(service: Json) -> str:
    """What is to be said of a service that wants no session now; "" of others."""
    replicas = service["spec"].get("replicas", 1)
    if service["status"] == "STOPPED":
        return f"stopped, as replicas is 0; `stoker service scale {service['name']} 1` starts it"
    if service["status"] == "IDLE" and isinstance(replicas, dict):
        return "asleep; the first request wakes it"
    return ""


def least(service: Json) -> int:
    """The fewest replicas that its spec allows."""
    replicas = service["spec"].get("replicas", 1)
    return int(replicas.get("min", 0) if isinstance(replicas, dict) else replicas)


def failed(sessions: Sequence[Json]) -> list[tuple[str, str]]:
    """Ids and reasons of sessions that ended unasked."""
    over = (s for s in sessions if s["status"] in TERMINAL and s["status"] == "FAILED")
    return [(s["id"], f"{s['reason']['code']}: {s['reason']['message']}" if s.get("reason") else "no reason is known") for s in over]


def _hopeless(service: Json, reason: Json | None) -> str:
    words = f"{reason['code']}: {reason['message']}" if reason else ""
    if service["status"] == "UNHEALTHY":
        return words or "crash_loop: its starts fail"
    if service["status"] == "STOPPING":
        return words or "service_removed: it is being deleted"
    return words if reason and reason["code"] in HOPELESS and service["status"] in ("PROVISIONING", "DEGRADED") else ""
