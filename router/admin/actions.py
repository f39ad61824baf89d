"""What can be done to a service besides applying it: scale, restart, rollback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from router.admin import views
from router.admin.apply import apply
from router.admin.call import Call, Words, answer
from router.admin.services import applied
from stoker.errors import Conflict, InvalidSpec, NotFound
from stoker.records import ServiceRecord
from stoker.specs import ServiceSpec


class Scale(Words, frozen=True):
    replicas: int | dict[str, int]


class Restart(Words, frozen=True):
    """`session`: only this one; `refresh`: choose anew what auto and the defaults chose."""

    session: str | None = None
    refresh: bool = False


class Rollback(Words, frozen=True):
    """`revision` None: the one before the current."""

    revision: int | None = None


async def scale(call: Call) -> Response:
    """Another number of replicas, or another range; no session restarts for it."""
    record, wanted = call.service(), (await call.read(Scale)).replicas
    return await _store(call, ServiceSpec.from_json(record.spec).scaled(wanted).to_json())


async def restart(call: Call) -> Response:
    """All sessions anew, by the rules of a rollout; with `session` that one only, and another takes its place."""
    record, words = call.service(), await call.read(Restart)
    if words.session is None:
        return await _store(call, record.spec, restart=True, refresh=words.refresh)
    session = call.session(words.session)
    if session.service != record.name:
        raise NotFound(f"the session {session.id} is not one of {record.name}")
    written = await call.context.store.sessions.wish(session, "drain", call.principal.actor)
    await call.context.ring(record.name)
    await call.context.caught_up(written.version)
    return answer(views.session(call.context.mirror.sessions.get(session.id, session)), 202)


async def rollback(call: Call) -> Response:
    """What sessions are started from, as it was in an earlier revision; replicas, routing and what else restarts nothing stays."""
    record, words = call.service(), await call.read(Rollback)
    spec = _earlier(record, await call.context.store.services.revisions(record.name), words.revision)
    kept = {field: value for field, value in record.spec.items() if field in ServiceSpec.restart_nothing}
    back = {field: value for field, value in spec.items() if field not in ServiceSpec.restart_nothing}
    return await _store(call, {**back, **kept})


def _earlier(record: ServiceRecord, revisions: list[dict[str, Any]], wanted: int | None) -> Mapping[str, Any]:
    known = {int(row["revision"]): row["spec"] for row in reversed(revisions)}
    if wanted is None:
        before = [number for number in known if number < record.revision]
        if not before:
            raise Conflict(f"{record.name} has no revision before {record.revision}")
        wanted = max(before)
    if wanted not in known:
        raise NotFound(f"{record.name} has no revision {wanted}; there are {', '.join(map(str, sorted(known)))}")
    return dict(known[wanted])


async def _store(call: Call, spec: Mapping[str, Any], *, restart: bool = False, refresh: bool = False) -> Response:
    """Write it against the version it was made from; a write in between is a conflict, not a loss."""
    record = call.service()
    if record.deleted_at is not None:
        raise Conflict(f"the service {record.name} is being deleted", retry_after=5)
    try:
        parsed = ServiceSpec.from_json(dict(spec))
    except InvalidSpec as error:
        raise InvalidSpec(error.message, param=error.param or "replicas") from error
    done = await apply(
        call.context, parsed, owner=record.owner, actor=call.principal.actor, expect=record.version, restart=restart, refresh=refresh
    )
    return applied(call, done)
