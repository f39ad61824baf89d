"""/admin/services: list, show, apply, delete."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from model_variants.resolve import check
from router.admin import shapes, views
from router.admin.apply import Applied, apply
from router.admin.call import BODY_LIMIT, Call, answer, has_labels, labels
from router.admin.endpoint import endpoint
from router.admin.explain import explain_spec
from router.admin.rights import Bounds, granted
from stoker.errors import InvalidRequest, InvalidSpec, NotFound, VersionConflict
from stoker.records import ServiceRecord
from stoker.specs import Document, ServiceSpec, parse_documents

__all__ = ["BODY_LIMIT", "applied", "delete", "endpoint", "index", "put", "show", "view"]


async def index(call: Call) -> Response:
    """All services of the token's project (an admin's: of every project); `?labels=a=b,c=d` narrows it."""
    wanted, project = labels(call.text("labels")), call.text("project")
    rows = (
        record
        for record in call.context.mirror.services.values()
        if call.sees(record.project, record.name)
        and (project is None or record.project == project)
        and has_labels(record.spec.get("labels", {}), wanted)
    )
    return call.page(rows, lambda record: record.name, lambda record: view(call, record))


async def show(call: Call) -> Response:
    record = call.service()
    return answer(view(call, record), headers=_etag(record.version))


async def put(call: Call) -> Response:
    """Create or change. 201 where it is new, 200 where it is changed or the same; `?dry_run=true` changes nothing."""
    document, spec = await _spec(call)
    old = call.context.mirror.services.get(spec.name)
    spec = _in_project(call, spec, old)
    bounds = Bounds((*call.context.settings.allowed_roots, call.context.settings.models_dir()), call.context.settings.deployer_may)
    spec = granted(call.principal, spec, bounds)
    try:
        check(spec, call.context.variants)
    except InvalidSpec as error:
        raise document.placed(error) from error
    if call.flag("dry_run"):
        return answer(await explain_spec(call, spec, old))
    done = await apply(
        call.context, spec, owner=call.principal.name or call.principal.id, actor=call.principal.actor, expect=_expected(call)
    )
    return applied(call, done)


async def delete(call: Call) -> Response:
    """Its sessions drain (with `?now=true` they end at once), then it is gone. Asked again: the same answer."""
    record, now, expected = call.service(), call.flag("now"), _expected(call)
    if expected is not None and record.version != expected:
        raise VersionConflict(f"the service {record.name} is at version {record.version}, not {expected}")
    written = await call.context.store.services.delete(record, now=now, actor=call.principal.actor)
    await call.context.ring(record.name)
    await call.context.caught_up(written.version)
    return answer(view(call, call.context.mirror.services.get(record.name, record)), 202)


def view(call: Call, record: ServiceRecord) -> shapes.Service:
    known = call.context.directory.services.get(record.name)
    names = known.names if known is not None else (record.name,)
    return views.service(record, call.context.mirror.sessions.values(), names, call.context.pulse.now())


def applied(call: Call, done: Applied) -> Response:
    """The answer to whatever wrote a spec."""
    shown = view(call, call.context.mirror.services.get(done.record.name, done.record))
    body = views.applied(shown, created=done.created, changed=done.changed, notes=done.notes)
    return answer(body, 201 if done.created else 200, _etag(shown.version))


async def _spec(call: Call) -> tuple[Document, ServiceSpec]:
    """The one service in the body, under the name in the path."""
    documents = parse_documents(await call.body())
    if len(documents) != 1 or not isinstance(documents[0].spec, ServiceSpec):
        raise InvalidSpec("the body is one document of kind service; send other documents to their own paths", param="kind")
    spec = documents[0].spec
    if spec.name != call.part("name"):
        raise InvalidSpec(f"name is {spec.name}, but the path says {call.part('name')[:80]}", param="name")
    return documents[0], spec


def _in_project(call: Call, spec: ServiceSpec, old: ServiceRecord | None) -> ServiceSpec:
    """Without a project in the spec: where the service is, else the token's own."""
    if "project" not in spec.model_fields_set:
        spec = spec.model_copy(update={"project": old.project if old is not None else call.principal.project})
    if old is not None:
        call.require_sight(f"the service {old.name}", old.project, old.name)
    call.require_sight(f"the project {spec.project}", spec.project, spec.name)
    return spec


def _expected(call: Call) -> int | None:
    """The version that If-Match names, 0 for `If-None-Match: *` (must be new), None where any will do."""
    headers: Mapping[str, str] = call.request.headers
    if headers.get("if-none-match", "").strip() == "*":
        return 0
    word = headers.get("if-match", "").strip().removeprefix("W/").strip('"')
    if word == "*":
        name = call.part("name")
        if name not in call.context.mirror.services:
            raise NotFound(f"there is no service {name[:80]}")
        return None
    if word and not (word.isascii() and word.isdigit() and len(word) < 16):
        raise InvalidRequest("If-Match is the version in the ETag of an earlier answer", param="if-match")
    return int(word) if word else None


def _etag(version: int) -> dict[str, str]:
    return {"etag": f'"{version}"'}
