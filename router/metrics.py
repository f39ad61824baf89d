"""What is counted on the data path, as plain integers; the store is told of what is new every other second (counting.py).

Labels are bounded: services that exist, and status codes. A request that named no service is counted under "".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable
from http import HTTPStatus

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from stoker.metrics.catalogue import FIRST_BYTE_BOUNDS, REQUEST_BOUNDS, families, field
from stoker.metrics.page import counted, gauge

CLIENT_LEFT = 499
"""Counted for requests whose client left before the answer's head (nginx's code)."""


class Histogram:
    """Counts per bucket; `observe` is a bisection and two additions."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def fields(self, name: str) -> dict[str, int]:
        """As the store keeps them; buckets that nothing fell into are left out."""
        found = {field(name, f"b{index}"): count for index, count in enumerate(self.counts) if count}
        return found | ({field(name, "us"): int(self.total * 1e6)} if found else {})


class ServiceCounts:
    """One service's figures since this router started; `told` is what the store knows of them, `news` whether there is more."""

    __slots__ = ("first_byte", "news", "requests", "seconds", "told")

    def __init__(self) -> None:
        self.requests: dict[int, int] = {}
        self.seconds = Histogram(REQUEST_BOUNDS)
        self.first_byte = Histogram(FIRST_BYTE_BOUNDS)
        self.told: dict[str, int] = {}
        self.news = False

    def fields(self) -> dict[str, int]:
        found = {field("requests_total", str(code)): count for code, count in self.requests.items()}
        return found | self.seconds.fields("request_seconds") | self.first_byte.fields("time_to_first_byte_seconds")

    def new(self) -> dict[str, int]:
        """What came since `told`."""
        return {name: more for name, count in self.fields().items() if (more := count - self.told.get(name, 0))}


class Metrics(Collector):
    """`text` is this router's own traffic; /metrics shows the cluster's (stoker.metrics.cluster)."""

    def __init__(self) -> None:
        self._services: dict[str, ServiceCounts] = {}
        self.waiting: dict[str, int] = {}
        self.in_flight: dict[str, int] = {}
        self._before: list[Callable[[], None]] = []
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def of(self, service: str) -> ServiceCounts:
        """The figures of a service that exists, or of ""."""
        found = self._services.get(service)
        if found is None:
            found = self._services[service] = ServiceCounts()
        return found

    def ended(self, service: str, status: int, seconds: float, first_byte: float | None) -> None:
        """One request is over; `first_byte` in seconds where the engine answered."""
        counts = self._services.get(service) or self.of(service)
        code = status if status == CLIENT_LEFT or status in _CODES else 0
        counts.requests[code] = counts.requests.get(code, 0) + 1
        counts.seconds.observe(seconds)
        if first_byte is not None:
            counts.first_byte.observe(first_byte)
        counts.news = True

    def forget(self, service: str) -> None:
        """The service is gone; its series end."""
        self._services.pop(service, None)

    def new(self) -> dict[str, dict[str, int]]:
        """What was counted since it was last taken, by service."""
        return {name: counts.new() for name, counts in self._services.items() if counts.news}

    def take(self, known: Container[str]) -> dict[str, dict[str, int]]:
        """The same, and it is the caller's now; services that are not `known` any more are forgotten."""
        for gone in [name for name in self._services if name and name not in known]:
            self.forget(gone)
        taken = self.new()
        for name, fields in taken.items():
            counts = self._services[name]
            counts.news = False
            for key, more in fields.items():
                counts.told[key] = counts.told.get(key, 0) + more
        return taken

    def watch(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` before each reading, to bring the gauges up to date."""
        self._before.append(refresh)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        for refresh in self._before:
            refresh()
        known = {family.name: family for family in families()}
        counters = {name: counts.fields() for name, counts in self._services.items()}
        for name in ("requests_total", "request_seconds", "time_to_first_byte_seconds"):
            yield counted(known[name], counters)
        for name, values in (("requests_in_flight", self.in_flight), ("requests_waiting", self.waiting)):
            yield gauge(known[name], {(service,): value for service, value in values.items()})


_CODES = frozenset(int(status) for status in HTTPStatus)
