"""What there is to serve with: variants, models and engines."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from starlette.responses import Response

from model_variants.base import Variant
from router.admin import shapes
from router.admin.call import Call

_MOST_MODELS = 10_000


async def variants(call: Call) -> Response:
    """Every variant that a spec may name, with the schema of its options."""
    return call.page(call.context.variants.values(), lambda variant: variant.name, _variant)


async def models(call: Call) -> Response:
    """What nodes found in the models of services, and what lies in the model store."""
    users: dict[str, list[str]] = {}
    for service in call.context.mirror.services.values():
        if call.sees(service.project, service.name):
            users.setdefault(str(service.spec.get("model")), []).append(service.name)
    stored = await asyncio.to_thread(_stored, call.context.settings.models_dir())
    facts: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in (*stored, *users)}
    for node in call.context.mirror.nodes.values():
        for name, found in node.facts.items():
            if call.principal.is_admin or name in facts or not name.startswith("/"):
                facts.setdefault(name, {})[node.name] = found
    rows = [_model(name, by_node, sorted(users.get(name, []))) for name, by_node in facts.items()]
    return call.page(rows, lambda row: row.name, lambda row: row)


async def engines(call: Call) -> Response:
    """Inference servers that are installed, node by node."""
    rows = [shapes.InstalledEngine(e.name, e.version, node.name) for node in call.context.mirror.nodes.values() for e in node.engines]
    return call.page(rows, lambda row: f"{row.name} {row.version} {row.node}", lambda row: row)


def _variant(variant: Variant) -> shapes.Variant:
    options = variant.options.model_json_schema()
    return shapes.Variant(variant.name, variant.title, list(variant.aliases), variant.engine, variant.image, variant.needs_gpu, options)


def _model(name: str, by_node: dict[str, dict[str, Any]], services: list[str]) -> shapes.Model:
    missing = {node: str(found["missing"]) for node, found in by_node.items() if "missing" in found}
    nodes = sorted(by_node.keys() - missing.keys())
    return shapes.Model(name, nodes, missing, by_node[nodes[0]] if nodes else None, services)


def _stored(folder: Path) -> list[str]:
    """Names in the model store of this machine."""
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []
    return names[:_MOST_MODELS]
