"""The router's entry for one session: where it is, who uses it, how it fares."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from router.wire.upstream import Pool
from stoker.records import Reason, Resolution

if TYPE_CHECKING:
    from router.directory import Service


class Outcome(Enum):
    """How one request on a route ended; the value is what it counts towards ejection (FAILURES_TO_EJECT ejects)."""

    FINE = 0
    LEFT = -1
    ERROR = 1
    STALLED = 2
    BROKEN = 3
    UNREACHABLE = 5
    WRONG_ENGINE = 6


FAILURES_TO_EJECT = 5
"""The count of failures without a good answer between them (Envoy's consecutive_5xx)."""

EJECTION_SECONDS = 5.0
EJECTION_LIMIT = 300.0


class Lease:
    """One request on one route. `Admission.release` ends it, once. `reclaim`, where there is one, asks for the slot back."""

    __slots__ = ("opened_at", "reclaim", "route", "trial")

    def __init__(self, route: Route, opened_at: float, trial: bool) -> None:
        self.route = route
        self.opened_at = opened_at
        self.trial = trial
        self.reclaim: Callable[[], None] | None = None


class Route:
    """`draining`: nothing new goes here; `drains`: because its session ends on purpose.

    `probed` is what the health check last said, None before it has; `flowed_at` when the engine last sent anything.

    After an ejection one request at a time may try the route (`trial`); a good answer lets the others back in.
    """

    __slots__ = (
        "address",
        "authorization",
        "draining",
        "drains",
        "ejected_until",
        "ejections",
        "failures",
        "flowed_at",
        "leases",
        "limit",
        "pool",
        "probed",
        "reason",
        "resolution",
        "service",
        "session",
        "trial",
        "weight",
    )

    def __init__(
        self,
        session: str,
        service: Service,
        address: str,
        resolution: Resolution,
        weight: int,
        limit: int,
        key: str | None,
        now: Callable[[], float],
    ) -> None:
        self.session = session
        self.service = service
        self.address = address
        self.resolution = resolution
        self.weight = weight
        self.limit = limit
        self.authorization = f"authorization: Bearer {key}\r\n".encode() if key else b""
        host, _, port = address.rpartition(":")
        self.pool = Pool(host.strip("[]"), int(port), now)
        self.leases: set[Lease] = set()
        self.draining = False
        self.drains = False
        self.probed: bool | None = None
        self.reason: Reason | None = None
        self.failures = 0
        self.ejections = 0
        self.ejected_until = 0.0
        self.trial: Lease | None = None
        self.flowed_at = 0.0

    @property
    def in_flight(self) -> int:
        return len(self.leases)

    @property
    def is_alive(self) -> bool:
        """Whether it may be chosen at all, were there room."""
        return not self.draining and self.weight > 0 and self.probed is not False

    def is_open(self, now: float) -> bool:
        """Whether the next request may go here."""
        if self.draining or self.probed is False or self.weight <= 0 or len(self.leases) >= self.limit:
            return False
        return not self.ejections or (now >= self.ejected_until and self.trial is None)

    def health(self, now: float) -> str:
        """healthy | unhealthy | probing | draining, as the contract has it."""
        if self.draining:
            return "draining"
        if self.probed is False or (self.ejections and now < self.ejected_until):
            return "unhealthy"
        return "probing" if self.ejections else "healthy"

    def record(self, outcome: Outcome, was_trial: bool, now: float) -> None:
        """Learn from how a request ended. The last route of a service is never ejected."""
        if outcome is Outcome.LEFT:
            return
        if outcome is Outcome.FINE:
            self.failures = 0
            if self.ejections and (was_trial or now >= self.ejected_until):
                self.ejections = 0
                self.reason = None
            return
        self.failures += outcome.value
        if (self.failures >= FAILURES_TO_EJECT or was_trial) and self._has_others(now):
            self.eject(now, f"{outcome.name.lower().replace('_', ' ')}: {self.failures} failures without a good answer between them")

    def eject(self, now: float, why: str) -> None:
        """No requests for a while: EJECTION_SECONDS, doubled with each time in a row."""
        self.failures = 0
        self.ejected_until = now + min(EJECTION_LIMIT, EJECTION_SECONDS * 2**self.ejections)
        self.ejections += 1
        self.reason = Reason("probe_failed", why)

    def _has_others(self, now: float) -> bool:
        return any(
            other is not self and other.is_alive and not (other.ejections and now < other.ejected_until) for other in self.service.routes
        )
