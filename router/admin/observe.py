"""What can be asked about a service besides itself: events, revisions, routes, and why it is where it is."""

from __future__ import annotations

from starlette.responses import Response

from router.admin import shapes, views
from router.admin.call import Call, answer
from router.admin.explain import explain_record
from router.admin.shapes import Page
from router.route import Route
from stoker.records import Event, Reason

_MOST_EVENTS = 1_000
_EVENTS = 500


async def events(call: Call) -> Response:
    """The newest events of a service, oldest first; `?since=` is in seconds since the epoch."""
    record = call.service()
    found = await _events(call, f"service/{record.name}")
    # A service made anew under an old name does not tell about the old one, whose project may have been another.
    return answer(Page([views.event(event) for event in found if event.time >= record.created_at]))


async def all_events(call: Call) -> Response:
    """The newest events of the cluster; for others than admins those about their project's services."""
    services = call.context.mirror.services

    def seen(event: Event) -> bool:
        kind, _, name = event.object.partition("/")
        record = services.get(name) if kind == "service" else None
        return record is not None and event.time >= record.created_at and call.sees(record.project, record.name)

    found = await _events(call, "")
    return answer(Page([views.event(event) for event in found if call.principal.is_admin or seen(event)]))


async def revisions(call: Call) -> Response:
    """The last revisions, newest first, each with its spec."""
    record = call.service()
    rows = await call.context.store.services.revisions(record.name)
    found = [shapes.Revision(r["revision"], r["version"], r["actor"], r["revision"] == record.revision, r["spec"]) for r in rows]
    return answer(Page(found))


async def routes(call: Call) -> Response:
    """This router's entries for the service's sessions; `in_flight` counts its own requests."""
    record, directory = call.service(), call.context.directory
    known = directory.services.get(record.name)
    return _routes(call, [*(known.routes if known else ()), *(r for r in directory.draining.values() if r.service.name == record.name)])


async def all_routes(call: Call) -> Response:
    """This router's entries for every session: load, health, and why one gets no requests. For others than admins their project's."""
    rows = (*call.context.directory.routes.values(), *call.context.directory.draining.values())
    return _routes(call, [route for route in rows if call.sees(route.service.project, route.service.name)])


async def explain(call: Call) -> Response:
    """Where its next session would go, and why not elsewhere."""
    return answer(await explain_record(call, call.service()))


def _routes(call: Call, rows: list[Route]) -> Response:
    now, waiting = call.context.clock.monotonic(), call.context.plane.admission.waiting

    def shown(route: Route) -> shapes.Route:
        name = route.service.name
        reason = Reason("draining", "its session is about to end") if route.draining and route.reason is None else route.reason
        return shapes.Route(
            route.session, name, route.address, route.health(now), route.weight, route.in_flight, route.limit, waiting(name),
            route.failures, reason,
        )  # fmt: skip

    return call.page(rows, lambda route: route.session, shown)


async def _events(call: Call, object: str) -> list[Event]:
    since = call.number("since", 0, 1e11) or 0.0
    limit = int(call.number("limit", 1, _MOST_EVENTS) or _EVENTS)
    return await call.context.store.events.list(object, since=since, limit=limit)
