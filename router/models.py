"""/v1/models: what this token may call, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.responses import Response

from router.access import Principal
from router.admin import views
from router.admin.call import Call, answer
from router.context import Context
from router.directory import Service
from router.finding import callable_services
from router.rules import NOBODY
from stoker.errors import ModelNotFound

_CONTEXT_OPTIONS = ("max_model_len", "context_length")
"""What variants call it."""


async def index(call: Call) -> Response:
    return answer({"object": "list", "data": [model for _, model in _models(call)]})


async def show(call: Call) -> Response:
    wanted = call.part("id")
    known = dict(_models(call))
    if wanted not in known:
        may = f"it may call: {', '.join(list(known)[:20])}" if known else "it may call none"
        raise ModelNotFound(f"The model {wanted[:200]!r} does not exist here, or this token may not call it; {may}", param="model")
    return answer(known[wanted])


def _models(call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
    """By id; where two services claim a name, it is whose requests with that name go to."""
    context, principal = call.context, call.principal
    caller = None if principal is NOBODY else principal
    for service in callable_services(context.plane, caller):
        for name in service.names:
            if _means(context, name, caller) is service:
                yield name, _model(context, name, service)


def _means(context: Context, name: str, caller: Principal | None) -> Service | None:
    return context.directory.model(name, caller.project if caller else None, caller is not None and caller.is_admin)


def _model(context: Context, name: str, service: Service) -> dict[str, Any]:
    record = service.record
    shown = views.service(record, context.mirror.sessions.values(), service.names, context.pulse.now())
    variant = context.variants.get(shown.variant)
    more = {
        "service": record.name,
        "status": shown.status,
        "reason": shown.reason,
        "variant": shown.variant,
        "title": variant.title if variant else None,
        "context_length": _context_length(context, service),
        "eta_seconds": None if service.routes else context.plane.progress(service)[1],
    }
    return {"id": name, "object": "model", "created": int(record.created_at), "owned_by": record.project, "stoker": more}


def _context_length(context: Context, service: Service) -> int | None:
    """What was asked for, else what the model's files say."""
    record = service.record
    options = record.resolved.options if record.resolved else {}
    asked = [options.get(name) for name in _CONTEXT_OPTIONS]
    if given := [length for length in asked if isinstance(length, int)]:
        return given[0]
    model = str(record.spec.get("model"))
    found = (node.facts[model].get("context_length") for node in context.mirror.nodes.values() if model in node.facts)
    return next((length for length in found if isinstance(length, int)), None)
