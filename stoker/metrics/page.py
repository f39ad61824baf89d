"""From the store's counters to Prometheus' families."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from stoker.metrics.catalogue import PREFIX, Family

Counters = Mapping[str, Mapping[str, int]]
"""Service to field to count; "" is what belongs to no service."""


def counted(family: Family, counters: Counters) -> Metric:
    """A counter or a histogram with a series for everything that has been counted. Fields of other versions are left out."""
    return _histogram(family, counters) if family.kind == "histogram" else _counter(family, counters)


def gauge(family: Family, values: Mapping[tuple[str, ...], float]) -> Metric:
    """`values` by labels, in the family's order."""
    made = GaugeMetricFamily(PREFIX + family.name, family.text, labels=family.all_labels)
    for labels, value in values.items():
        made.add_metric(labels, value)
    return made


def _counter(family: Family, counters: Counters) -> Metric:
    made = CounterMetricFamily((PREFIX + family.name).removesuffix("_total"), family.text, labels=family.all_labels)
    for labels, _, count in _fields(family, counters, tail=0):
        made.add_metric(labels, count)
    return made


def _histogram(family: Family, counters: Counters) -> Metric:
    made = HistogramMetricFamily(PREFIX + family.name, family.text, labels=family.all_labels)
    series: dict[tuple[str, ...], dict[str, int]] = {}
    for labels, tail, count in _fields(family, counters, tail=1):
        series.setdefault(labels, {})[tail] = count
    for labels, counts in series.items():
        buckets, so_far = [], 0
        for index, bound in enumerate((*map(str, family.bounds), "+Inf")):
            so_far += counts.get(f"b{index}", 0)
            buckets.append((bound, float(so_far)))
        made.add_metric(labels, buckets, counts.get("us", 0) / 1e6)
    return made


def _fields(family: Family, counters: Counters, *, tail: int) -> Iterable[tuple[tuple[str, ...], str, int]]:
    """(labels, the last part where `tail`, count) of each of the family's fields."""
    length = 1 + len(family.labels) + tail
    for service, fields in counters.items():
        for name, count in fields.items():
            parts = name.split("|")
            if parts[0] == family.name and len(parts) == length:
                labels = tuple(parts[1 : 1 + len(family.labels)])
                yield (service, *labels) if family.of_service else labels, parts[-1], count
