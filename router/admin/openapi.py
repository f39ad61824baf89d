"""/admin/openapi.json, made from the route table."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from router.admin.call import Call, answer
from stoker import __version__
from stoker.specs import ServiceSpec

if TYPE_CHECKING:
    from router.table import Entry

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_ERROR = {"error": {"message": "…", "type": "invalid_request_error", "code": "invalid_request", "param": None, "request_id": "req_…"}}
_FAILED = {"description": "An error.", "content": {"application/json": {"example": _ERROR}}}


async def show(call: Call) -> Response:
    """This description."""
    return answer(describe(call.request.app.state.table))


def describe(entries: tuple[Entry, ...]) -> dict[str, Any]:
    """OpenAPI 3.1. Forms of bodies and answers are those that the calls themselves use."""
    forms = [form for entry in entries for form in (entry.answer, entry.body) if form not in (None, str)]
    schemas, components = msgspec.json.schema_components(forms, ref_template=_REF)
    by_form = {repr(form): schema for form, schema in zip(forms, schemas, strict=True)}
    components["ServiceSpec"] = _spec_schema(components)
    paths: dict[str, dict[str, Any]] = {}
    for entry in entries:
        path = _PARAMETER.sub(r"{\1}", entry.path)
        paths.setdefault(path, {})[entry.method.lower()] = _operation(entry, by_form)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stoker", "version": __version__},
        "paths": paths,
        "security": [{"token": []}],
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(entry: Entry, by_form: dict[str, Any]) -> dict[str, Any]:
    path = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _PARAMETER.findall(entry.path)]
    query = [{"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in entry.query]
    text = inspect.getdoc(entry.handler) or ""
    found: dict[str, Any] = {
        "operationId": f"{entry.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', entry.path).rstrip('_')}",
        "summary": text.partition("\n")[0],
        "description": text,
        "x-stoker-roles": sorted(entry.rule.roles),
        "parameters": path + query,
        "responses": {
            str(entry.status): _answer(entry, by_form),
            "default": _FAILED,
        },
    }
    if entry.status == 201 and entry.method == "PUT":
        found["responses"]["200"] = found["responses"]["201"]
    if not entry.rule.roles:
        found["security"] = []
    if entry.body is not None:
        spec = entry.method == "PUT"
        schema = {"schema": {"$ref": _REF.format(name="ServiceSpec")} if spec else by_form[repr(entry.body)]}
        found["requestBody"] = {"content": _json(schema) | ({"application/yaml": schema} if spec else {})}
    return found


def _answer(entry: Entry, by_form: dict[str, Any]) -> dict[str, Any]:
    if entry.answer is None:
        return {"description": "Done."}
    if entry.answer is str:
        return {"description": "Lines of text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"description": "Done.", "content": _json({"schema": by_form[repr(entry.answer)]})}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": schema}


def _spec_schema(components: dict[str, Any]) -> dict[str, Any]:
    """The spec's own schema; the blocks that it refers to are added to `components`."""
    schema: dict[str, Any] = ServiceSpec.model_json_schema(ref_template="#/components/schemas/Spec{model}")
    for name, part in schema.pop("$defs", {}).items():
        components[f"Spec{name}"] = part
    return schema
