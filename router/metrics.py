"""What is counted on the data path, as plain integers; prometheus-client only sees them when somebody asks.

Labels are bounded: services that exist, and status codes. A request that named no service is counted under "".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from http import HTTPStatus

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

REQUEST_BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
FIRST_BYTE_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

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

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        found, sum_so_far = [], 0
        for bound, count in zip((*self.bounds, None), self.counts, strict=True):
            sum_so_far += count
            found.append(("+Inf" if bound is None else str(bound), float(sum_so_far)))
        return found


class ServiceCounts:
    """One service's figures."""

    __slots__ = ("cold_starts", "first_byte", "requests", "seconds")

    def __init__(self) -> None:
        self.requests: dict[int, int] = {}
        self.seconds = Histogram(REQUEST_BOUNDS)
        self.first_byte = Histogram(FIRST_BYTE_BOUNDS)
        self.cold_starts = 0


class Metrics:
    """`registry` has the data path's figures; others add collectors of their own to it. `text` is what /metrics answers."""

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

    def forget(self, service: str) -> None:
        """The service is gone; its series end."""
        self._services.pop(service, None)

    def watch(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` before each reading, to bring the gauges up to date."""
        self._before.append(refresh)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)

    def describe(self) -> Iterable[Metric]:
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        for refresh in self._before:
            refresh()
        requests = CounterMetricFamily("stoker_requests", "Requests by service and status code.", labels=("service", "code"))
        seconds = HistogramMetricFamily("stoker_request_seconds", "From the request's head to the answer's end.", labels=("service",))
        first = HistogramMetricFamily("stoker_time_to_first_byte_seconds", "From sending to the first byte.", labels=("service",))
        cold = CounterMetricFamily("stoker_cold_starts", "Times that requests woke a service with no session.", labels=("service",))
        for name, counts in self._services.items():
            for code, count in counts.requests.items():
                requests.add_metric((name, str(code)), count)
            seconds.add_metric((name,), counts.seconds.buckets(), counts.seconds.total)
            first.add_metric((name,), counts.first_byte.buckets(), counts.first_byte.total)
            cold.add_metric((name,), counts.cold_starts)
        yield from (requests, seconds, first, cold)
        yield _gauge("stoker_requests_in_flight", "Requests at engines now.", self.in_flight)
        yield _gauge("stoker_requests_waiting", "Requests held now.", self.waiting)


_CODES = frozenset(int(status) for status in HTTPStatus)


def _gauge(name: str, text: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=("service",))
    for service, value in values.items():
        family.add_metric((service,), value)
    return family
