"""Who asks, which service they mean, and whether they may: steps 1 and 2 of an asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from router.access import RUNNER, Principal, may_infer
from router.directory import Service
from router.paths import climbs
from stoker.errors import InvalidRequest, ModelNotFound, ModelRequired, PathRefused, StokerError, Unauthenticated

if TYPE_CHECKING:
    from router.plane import Plane
    from router.request import Request


class Asking(Protocol):
    """What is found out step by step: an exchange, or a WebSocket."""

    @property
    def plane(self) -> Plane: ...
    @property
    def request(self) -> Request: ...
    @property
    def path_at_engine(self) -> str: ...

    principal: Principal | None
    denied: Unauthenticated | None
    service: Service | None


_OPERATORS = frozenset({"admin", "deployer", RUNNER})
"""What a job may reach was decided by whose it is, when it was accepted."""

_NAMED_IN_ERRORS = 20


def identify(asking: Asking) -> None:
    """The token's owner. A missing or wrong token is refused at once only where no service is public."""
    request, plane = asking.request, asking.plane
    if climbs(request.path):
        raise InvalidRequest("the path has a segment . or ..")
    try:
        asking.principal = plane.access.authenticate(request.headers)
    except Unauthenticated as error:
        asking.denied = error
        if not plane.directory.has_public:
            raise


def find_service(asking: Asking, name: str) -> Service:
    """By its own name. Raises ModelNotFound, or why there is no valid token."""
    service = asking.plane.directory.services.get(name)
    if service is None or service.record.deleted_at is not None or not may_infer(asking.principal, service.record):
        raise asking.denied or _unknown(asking.plane, asking.principal, f"There is no service {name}")
    return service


def find_model(asking: Asking, model: str | None) -> Service:
    """By what the client calls the model, the first that is given:

    1. `model` of the body.
    2. `?model=`.
    3. The header x-stoker-service, a service's name.
    4. The only service that the token may call.
    """
    request, plane, principal = asking.request, asking.plane, asking.principal
    model = model or request.query("model")
    if not model and request.service:
        return find_service(asking, request.service.decode("latin-1"))
    if not model:
        return _only(asking)
    service = plane.directory.model(model, principal.project if principal else None, principal is not None and principal.is_admin)
    if service is None or not may_infer(principal, service.record):
        raise asking.denied or _unknown(plane, principal, f"The model {model[:200]!r} does not exist here")
    return service


def use(asking: Asking, service: Service) -> None:
    """This service it is. Raises PathRefused for paths that are the operator's."""
    asking.service = service
    service.last_request_at = asking.plane.wall()
    allow_path(service, asking.request.method, asking.path_at_engine, asking.principal)


def allow_path(service: Service, method: str, path: str, principal: Principal | None) -> None:
    """Raises PathRefused for paths that are the operator's."""
    if service.rules.refuses(method, path) and (principal is None or principal.role not in _OPERATORS):
        raise PathRefused(f"the path {path[:200]} administers the engine; it needs an admin's or a deployer's token")


def callable_services(plane: Plane, principal: Principal | None) -> list[Service]:
    """What this token may send requests to, by name."""
    return [service for service in plane.directory.listed() if may_infer(principal, service.record)]


def _only(asking: Asking) -> Service:
    if asking.denied is not None:
        raise asking.denied
    found = callable_services(asking.plane, asking.principal)
    if asking.principal is not None and asking.principal.project:
        found = [service for service in found if service.project == asking.principal.project] or found
    if len(found) == 1:
        return found[0]
    raise ModelRequired("say which model: `model` in the body, ?model= or the header x-stoker-service" + _may_call(found), param="model")


def _unknown(plane: Plane, principal: Principal | None, what: str) -> StokerError:
    return ModelNotFound(what + ", or this token may not call it" + _may_call(callable_services(plane, principal)), param="model")


def _may_call(services: list[Service]) -> str:
    names = [service.names[0] for service in services[:_NAMED_IN_ERRORS]]
    return "; it may call: " + ", ".join(names) if names else "; it may call none"
