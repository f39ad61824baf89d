"""Every key of the store, one function each, all under the cluster's prefix."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    """`cluster` is the id that keeps two clusters on one Redis apart."""

    cluster: str

    def _key(self, *parts: str) -> str:
        return ":".join(("stoker", self.cluster, *parts))

    def record(self, kind: str, id: str) -> str:
        """Hash: one JSON value per field of the record."""
        return self._key(kind, id)

    def index(self, kind: str) -> str:
        """Set of the ids of all records of a kind."""
        return self._key(kind + "s")

    def feed(self) -> str:
        """Stream of (kind, id, time) with ids `VERSION-0`."""
        return self._key("feed")

    def feed_version(self) -> str:
        return self._key("feed", "version")

    def store_id(self) -> str:
        """Made once per data set: an emptied store has another one."""
        return self._key("store-id")

    def schema(self) -> str:
        return self._key("schema")

    def dirty(self, purpose: str = "scheduler") -> str:
        """Set while a ring is on its way that nobody has answered; keeps rings to one."""
        return self._key("dirty") if purpose == "scheduler" else self._key("dirty", purpose)

    def leader(self) -> str:
        """Hash holder, epoch; expires unless renewed."""
        return self._key("leader")

    def leader_epoch(self) -> str:
        return self._key("leader", "epoch")

    def nodes_seen(self) -> str:
        """Sorted set: node name by the store's time of its last heartbeat."""
        return self._key("nodes", "seen")

    def routers_seen(self) -> str:
        return self._key("routers", "seen")

    def router_addresses(self) -> str:
        """Hash: router id to where it listens, http://HOST:PORT."""
        return self._key("routers", "addresses")

    def load(self, router: str) -> str:
        """Hash: service name to Load."""
        return self._key("load", router)

    def route_health(self) -> str:
        """Hash: session id to RouteHealth."""
        return self._key("route-health")

    def drain(self, session: str) -> str:
        """Hash: router id to its requests in flight on a draining session."""
        return self._key("drain", session)

    def model_names(self, project: str) -> str:
        """Hash: what clients send as "model" to the service that has it."""
        return self._key("model-names", project)

    def revisions(self, service: str) -> str:
        """List of JSON, newest first."""
        return self._key("revisions", service)

    def events(self, object: str = "") -> str:
        """Stream of events; of the whole cluster without an object."""
        return self._key("events", object) if object else self._key("events")

    def counters(self, service: str = "") -> str:
        """Hash: what was counted of a service, or of no service in particular; see stoker.metrics.catalogue."""
        return self._key("counters", service)

    def counted(self, process: str) -> str:
        """Number of the last portion of counts that this process has added."""
        return self._key("counted", process)

    def engine_counts(self, session: str) -> str:
        """Hash: what a session's engine was last known to have counted."""
        return self._key("engine-counts", session)

    def gpu_utilization(self) -> str:
        """Hash: node to (time, device to busy share)."""
        return self._key("gpu-utilization")

    def queue(self, purpose: str = "scheduler") -> str:
        """arq's queue of those who answer."""
        return self._key("arq", purpose)

    def bell(self, purpose: str = "scheduler") -> str:
        """Pub/sub channel that shortens arq's poll."""
        return self._key("bell") if purpose == "scheduler" else self._key("bell", purpose)
