"""Which web pages may call a service: `routing.cors_origins`. Without an entry a browser is refused by its own rules."""

from __future__ import annotations

from router.directory import Directory, Service
from router.request import Place, Request
from router.wire.heads import Headers

_AGE_SECONDS = 600


def allows(service: Service, origin: bytes) -> bool:
    """Whether pages of this origin may call the service."""
    return bool(origin) and _listed(service.routing.cors_origins, origin)


def preflight(directory: Directory, request: Request, place: Place) -> Headers | None:
    """The answer to a browser's question before the call, which bears no token; None where it is no such question, or the answer is no.

    A call by model does not say its service yet: then it is enough that some service lets the page in.
    """
    if request.method != "OPTIONS" or not request.origin:
        return None
    asked = {name: value for name, value in request.headers if name.startswith(b"access-control-request-")}
    if b"access-control-request-method" not in asked:
        return None
    named = [directory.services[place.service]] if place.service in directory.services else []
    services = named if place.service is not None else list(directory.listed())
    if not any(allows(service, request.origin) for service in services):
        return None
    found = [(b"access-control-allow-methods", asked[b"access-control-request-method"])]
    wanted = asked.get(b"access-control-request-headers")
    if wanted:
        found.append((b"access-control-allow-headers", wanted))
    return [*granted(request.origin), *found, (b"access-control-max-age", b"%d" % _AGE_SECONDS)]


def granted(origin: bytes) -> Headers:
    """What an answer to an allowed page says."""
    exposed = b"x-request-id, x-stoker-session, x-stoker-error, x-stoker-queued-ms, retry-after"
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin"), (b"access-control-expose-headers", exposed)]


def replace(headers: Headers, origin: bytes) -> Headers:
    """An engine's answer with our word instead of its own."""
    kept = [(name, value) for name, value in headers if not name.startswith(b"access-control-")]
    return [*kept, *granted(origin)]


def _listed(origins: tuple[str, ...], origin: bytes) -> bool:
    return "*" in origins or origin.decode("latin-1").lower() in origins
