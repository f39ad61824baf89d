"""Trying again: which routes one request has failed on, how often it may, and how many of a service's requests may at once."""

from __future__ import annotations

from router.directory import Service
from router.route import Route

PAUSE_SECONDS = 0.15
"""Before the only route is tried again; doubled each time. By then the mirror knows of a session that ended."""

ALWAYS = 3
ONE_IN = 5
"""Retries under way at once: a fifth of the service's requests, but ALWAYS are allowed (Envoy's retry budget)."""


class Retries:
    """Of one request. `tried` are the routes that failed it since the last pause."""

    __slots__ = ("_attempts", "_counted", "tried")

    def __init__(self) -> None:
        self._attempts = 0
        self._counted: Service | None = None
        self.tried: set[Route] = set()

    def allow(self, service: Service, failed: Route) -> bool:
        """Whether another try is within `routing.retries` and the service's budget; counts it if so."""
        if self._attempts >= service.routing.retries:
            return False
        if self._counted is None:
            if service.retrying >= max(ALWAYS, service.in_flight // ONE_IN):
                return False
            self._counted = service
            service.retrying += 1
        self._attempts += 1
        self.tried.add(failed)
        return True

    def pause(self) -> float:
        """Seconds to wait where no other route is left; then all count as untried."""
        self.tried.clear()
        return float(PAUSE_SECONDS * 2 ** (self._attempts - 1))

    def close(self) -> None:
        """The request is over."""
        if self._counted is not None:
            self._counted.retrying -= 1
            self._counted = None
