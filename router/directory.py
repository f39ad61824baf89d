"""What this router knows: services by name and by what clients call their models, and the routes to their sessions.

Filled by the mirror's changes, one service at a time; read by every request. With the store away it stays as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import msgspec

from router.backfill import reclaim_all
from router.balance import policies
from router.paths import PathRules
from router.route import Route
from stoker.errors import InvalidSpec, ServiceStopped, StartFailed, StokerError
from stoker.keyring import session_key
from stoker.records import Resolution, ServiceRecord, SessionRecord
from stoker.specs import Routing, ServiceSpec
from stoker.states import COMING, SessionStatus
from stoker.status import is_stopped
from stoker.store.mirror import Mirror

log = logging.getLogger(__name__)

DEFAULT_BODY_LIMIT = 32 * 2**20


class Service:
    """A service as requests see it. `routes` may be chosen; a draining one has left them. `coming` may still become ready."""

    __slots__ = (
        "coming",
        "last_request_at",
        "name",
        "names",
        "pick",
        "priority",
        "project",
        "public",
        "record",
        "retrying",
        "routes",
        "routing",
        "rules",
        "turn",
    )

    def __init__(self, record: ServiceRecord) -> None:
        self.name = record.name
        self.project = record.project
        self.routes: list[Route] = []
        self.coming: dict[str, SessionRecord] = {}
        self.turn = 0
        self.retrying = 0
        self.last_request_at = 0.0
        self.update(record)

    def update(self, record: ServiceRecord) -> None:
        self.record = record
        try:
            spec = ServiceSpec.from_json(record.spec)
            self.routing, self.priority, named = spec.routing, spec.priority, spec.model_name
        except InvalidSpec as error:
            log.warning("the spec of %s is not one that this version knows (%s); its routing is the default", record.name, error)
            self.routing, self.priority, named = Routing(), 10, ()
        resolved = record.resolved.model_names if record.resolved else ()
        self.names = tuple(dict.fromkeys((*named, *resolved, record.name)))
        self.public = record.spec.get("open_to_public") is True
        self.pick = policies()[self.routing.policy]
        self.refresh_rules()

    def refresh_rules(self) -> None:
        """What any of its engines reserves for operators is reserved for all of them."""
        known = {path for route in self.routes for path in route.resolution.refused_paths}
        known.update(self.record.resolved.refused_paths if self.record.resolved else ())
        self.rules = PathRules(sorted(known), self.routing.allow_paths, self.routing.deny_paths)

    @property
    def in_flight(self) -> int:
        return sum(len(route.leases) for route in self.routes)

    def refusal(self) -> StokerError | None:
        """Why nobody should wait for a route; None while one is there or may still come."""
        if self.record.deleted_at is not None:
            return ServiceStopped(f"the service {self.name} was deleted")
        if is_stopped(self.record):
            return ServiceStopped(f"the service {self.name} is stopped; `stoker service scale {self.name} 1` starts it")
        if self.record.backoff.gave_up and not self.routes:
            last = self.record.backoff.last
            detail = f": {last.message}" if last else ""
            again = f"`stoker service restart {self.name}` tries again"
            return StartFailed(f"{self.name} does not start (crash_loop){detail}; {again}")
        return None


class Directory:
    """`changed` is called with each service whose record or routes changed, `drains` with each route that stopped being chosen."""

    def __init__(self, mirror: Mirror, cluster_key: bytes, now: Callable[[], float]) -> None:
        self._mirror = mirror
        self._cluster_key = cluster_key
        self._now = now
        self._changed: list[Callable[[Service], None]] = []
        self.services: dict[str, Service] = {}
        self.routes: dict[str, Route] = {}
        self.draining: dict[str, Route] = {}
        self.drain_changed: Callable[[str, int], None] = lambda session, in_flight: None
        self.body_limit = DEFAULT_BODY_LIMIT
        self.has_public = False
        self._by_model: dict[tuple[str, str], Service] = {}
        self._public: dict[str, Service] = {}
        mirror.listen(self.on_change)
        self._read_all()

    def listen(self, changed: Callable[[Service], None]) -> None:
        self._changed.append(changed)

    # reading

    def model(self, name: str, project: str | None, anywhere: bool = False) -> Service | None:
        """The service that clients of `project` mean by this model's name: their own first, then public ones; `anywhere`: then any."""
        found = self._by_model.get((project, name)) if project is not None else None
        found = found or self._public.get(name)
        if found is None and anywhere:
            return next((service for (_, model), service in self._by_model.items() if model == name), None)
        return found

    def listed(self) -> Iterable[Service]:
        """Services that are not being deleted, by name."""
        return (self.services[name] for name in sorted(self.services) if self.services[name].record.deleted_at is None)

    # following the mirror

    def on_change(self, kind: str, id: str, record: msgspec.Struct | None) -> None:
        """A listener of the mirror."""
        if kind == "sync":
            self._read_all()
        elif kind == "service":
            self._service_changed(id, record)  # type: ignore[arg-type]
        elif kind == "session":
            self._session_changed(id, record)  # type: ignore[arg-type]

    def _read_all(self) -> None:
        for name in [*self.services]:
            if name not in self._mirror.services:
                self._service_changed(name, None)
        for name, record in self._mirror.services.items():
            self._service_changed(name, record)
        gone = {*self.routes, *self.draining} | {id for service in self.services.values() for id in service.coming}
        for id in gone - self._mirror.sessions.keys():
            self._session_changed(id, None)
        for id, session in self._mirror.sessions.items():
            self._session_changed(id, session)

    def _service_changed(self, name: str, record: ServiceRecord | None) -> None:
        service = self.services.get(name)
        if record is None:
            if service is not None:
                del self.services[name]
                service.record = msgspec.structs.replace(service.record, deleted_at=self._now())
                for route in [*service.routes]:
                    self._drop(route)
                self._index()
                self._tell(service)
            return
        if service is None:
            service = self.services[name] = Service(record)
            for session in self._mirror.sessions.values():
                if session.service == name:
                    self._session_changed(session.id, session)
        else:
            service.update(record)
            for route in service.routes:
                route.limit = self._limit(service, route.resolution)
        self._index()
        self._tell(service)

    def _index(self) -> None:
        """Names anew; where two services claim one, the older keeps it."""
        self._by_model, self._public = {}, {}
        self.body_limit, self.has_public = DEFAULT_BODY_LIMIT, False
        for service in sorted(self.services.values(), key=lambda s: (s.record.created_at, s.name)):
            if service.record.deleted_at is not None:
                continue
            self.body_limit = max(self.body_limit, service.routing.max_body)
            self.has_public = self.has_public or service.public
            for name in service.names:
                self._by_model.setdefault((service.project, name), service)
                if service.public:
                    self._public.setdefault(name, service)
        for service in self.services.values():
            if service.record.deleted_at is None:
                self._by_model[service.project, service.name] = service

    def _session_changed(self, id: str, session: SessionRecord | None) -> None:
        service = self.services.get(session.service) if session else None
        if session is not None and service is None:
            return
        for known in self.services.values() if session is None else (service,):
            if known is not None:
                known.coming.pop(id, None)
        route = self.routes.get(id)
        if session is not None and service is not None and session.status is SessionStatus.READY and session.address and session.assignment:
            service = self._ready(service, session, route)
        elif session is not None and session.status is SessionStatus.DRAINING:
            self._drain(id, route)
        else:
            if session is not None and service is not None and session.status in COMING:
                service.coming[id] = session
            gone = route or self.draining.get(id)
            if gone is not None:
                service = gone.service
                self._drop(gone)
        if service is not None:
            self._tell(service)

    def _ready(self, service: Service, session: SessionRecord, route: Route | None) -> Service:
        assert session.assignment is not None and session.address is not None
        resolution = session.assignment.resolution
        if route is not None and (route.address != session.address or route.service is not service):
            self._drop(route)
            route = None
        if route is None:
            key = session_key(self._cluster_key, session.id) if resolution.takes_key else None
            limit = self._limit(service, resolution)
            route = Route(session.id, service, session.address, resolution, weight=session.weight, limit=limit, key=key, now=self._now)
            self.routes[session.id] = route
            service.routes.append(route)
            service.refresh_rules()
        route.weight = session.weight
        return service

    def _limit(self, service: Service, resolution: Resolution) -> int:
        return service.routing.max_concurrency or resolution.max_concurrency

    def _drain(self, id: str, route: Route | None) -> None:
        if route is not None:
            route.draining = route.drains = True
            route.service.routes.remove(route)
            del self.routes[id]
            self.draining[id] = route
            route.pool.close_idle()
            reclaim_all(route.leases)
        left = self.draining.get(id)
        self.drain_changed(id, left.in_flight if left else 0)

    def _drop(self, route: Route) -> None:
        """The session is over or elsewhere: nothing new goes to its address, kept connections go with it."""
        route.draining = True
        self.routes.pop(route.session, None)
        self.draining.pop(route.session, None)
        if route in route.service.routes:
            route.service.routes.remove(route)
        route.pool.close()

    def _tell(self, service: Service) -> None:
        for changed in self._changed:
            changed(service)
