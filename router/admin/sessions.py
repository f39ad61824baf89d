"""/admin/sessions: list, show, weigh, end; and the queue of those that wait for room."""

from __future__ import annotations

from starlette.responses import Response

from router.admin import views
from router.admin.call import Call, Words, answer
from stoker.errors import Conflict, InvalidRequest
from stoker.records import SessionRecord
from stoker.states import TERMINAL, SessionStatus


class Weight(Words, frozen=True):
    weight: int


async def index(call: Call) -> Response:
    """Live sessions, with `?all=true` also ended ones; `?service=NAME` and `?node=NAME` narrow it."""
    service, node, everything = call.text("service"), call.text("node"), call.flag("all")
    rows = (
        record
        for record in call.context.mirror.sessions.values()
        if call.sees(record.project, record.service)
        and (everything or record.status not in TERMINAL)
        and (service is None or record.service == service)
        and (node is None or record.node == node)
    )
    return call.page(rows, lambda record: record.id, views.session)


async def show(call: Call) -> Response:
    return answer(views.session(call.session(call.part("id"))))


async def weigh(call: Call) -> Response:
    """How much of the traffic its route gets beside the others: 0 (none) to 100."""
    record, weight = call.session(call.part("id")), (await call.read(Weight)).weight
    if not 0 <= weight <= 100:
        raise InvalidRequest("weight is a whole number from 0 to 100", param="weight")
    written = await call.context.store.sessions.weigh(record, weight, call.principal.actor)
    return await _after(call, record, written.version, 200)


async def end(call: Call) -> Response:
    """Drain it, or end it at once with `?now=true`; another takes its place if the service still wants it."""
    record = call.session(call.part("id"))
    if record.status in TERMINAL:
        raise Conflict(f"the session {record.id} is over: {record.status.value}")
    written = await call.context.store.sessions.wish(record, "kill" if call.flag("now") else "drain", call.principal.actor)
    await call.context.ring(record.service)
    return await _after(call, record, written.version, 202)


async def queue(call: Call) -> Response:
    """Sessions that wait for room, in the order of their turn: priority, then age."""
    services = call.context.mirror.services

    def turn(record: SessionRecord) -> str:
        service = services.get(record.service)
        priority = int(service.spec.get("priority", 10)) if service else 10
        return f"{100 - priority:03d} {record.created_at:017.6f} {record.id}"

    rows = (s for s in call.context.mirror.sessions.values() if s.status is SessionStatus.PENDING and call.sees(s.project, s.service))
    return call.page(rows, turn, views.session)


async def _after(call: Call, record: SessionRecord, version: int, status: int) -> Response:
    await call.context.caught_up(version)
    return answer(views.session(call.context.mirror.sessions.get(record.id, record)), status)
