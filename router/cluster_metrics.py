"""The cluster in figures, from the mirror: every router shows the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from router.admin import shapes, views
from router.pulse import Pulse
from stoker.settings import Settings
from stoker.states import SessionStatus
from stoker.store.mirror import Mirror


class ClusterMetrics(Collector):
    """A collector; register it once. Labels are names of services, nodes and devices that exist."""

    def __init__(self, mirror: Mirror, pulse: Pulse, settings: Settings) -> None:
        self._mirror = mirror
        self._pulse = pulse
        self._settings = settings

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        sessions = Counter(session.status for session in self._mirror.sessions.values())
        nodes = [self._node(name) for name in sorted(self._mirror.nodes)]
        yield _gauge("stoker_store_up", "1 while the store answers this router.", {(): float(self._mirror.connected)})
        yield _gauge("stoker_leader", "1 while a scheduler leads.", {(): float(self._pulse.leader is not None)})
        yield _gauge("stoker_sessions", "Sessions by status.", {(status.value,): sessions[status] for status in SessionStatus}, "status")
        by_status = Counter(node.status for node in nodes)
        words = ("ready", "cordoned", "draining", "silent", "lost")
        yield _gauge("stoker_nodes", "Nodes by status.", {(word,): by_status[word] for word in words}, "status")
        yield _gauge("stoker_service_replicas", "Sessions wanted and ready.", dict(self._replicas()), "service", "kind")
        gpus = {(node.name, gpu.id): gpu for node in nodes for gpu in node.gpus}
        yield _gauge("stoker_gpu_allocated", "Share of each GPU that is booked.", {k: g.used_share for k, g in gpus.items()}, "node", "gpu")
        foreign = {key: gpu.foreign_memory for key, gpu in gpus.items()}
        yield _gauge("stoker_gpu_foreign_bytes", "GPU memory of processes that are not ours.", foreign, "node", "gpu")

    def _node(self, name: str) -> shapes.Node:
        record = self._mirror.nodes[name]
        seen = max(self._pulse.seen.get(name, 0.0), record.registered_at)
        return views.node(record, self._mirror.sessions.values(), seen, self._pulse.looked_at, self._settings)

    def _replicas(self) -> Iterable[tuple[tuple[str, ...], float]]:
        for name, record in self._mirror.services.items():
            shown = views.service(record, self._mirror.sessions.values(), (), self._pulse.now())
            yield (name, "wanted"), shown.replicas.wanted
            yield (name, "ready"), shown.replicas.ready


def _gauge(name: str, text: str, values: Mapping[Any, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
