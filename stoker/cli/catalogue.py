"""`stoker variant`, `stoker model`, `stoker engine`: what there is to serve with."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from stoker.cli.flags import lists
from stoker.cli.reach import Reach
from stoker.cli.tables import Column, Row, fields, listing, write
from stoker.cli.tree import application
from stoker.errors import NotFound

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


def commands(name: str) -> typer.Typer:
    help, verbs = {
        "variant": ("Variants: ways to serve a model.", {"ls": variants, "info": variant}),
        "model": ("Models: what nodes have.", {"ls": models, "info": model}),
        "engine": ("Engines: inference servers that are installed.", {"ls": engines}),
    }[name]
    app = application(name, help)
    for verb, function in verbs.items():
        app.command(verb)(function)
    if name == "engine":
        app.callback()(_engine)
    return app


@lists
def variants(reach: Reach) -> None:
    """List variants."""
    columns = [
        Column("NAME", lambda v: v["name"]),
        Column("TITLE", lambda v: v.get("title")),
        Column("ENGINE", lambda v: v.get("engine")),
        Column("IMAGE", lambda v: v.get("image")),
        Column("GPU", lambda v: "needed" if v.get("needs_gpu") else "-"),
        Column("ALSO", lambda v: v.get("aliases")),
    ]
    listing(reach.client().variants(), columns, reach.as_json, "no variants")


@lists
def variant(reach: Reach, name: Name) -> None:
    """One variant, with its options."""
    wanted = name.replace("-", "_")
    found = _one(
        reach.client().variants(), lambda v: wanted in (v["name"], *(a.replace("-", "_") for a in v.get("aliases") or ())), "variant", name
    )
    fields([(field.capitalize(), found.get(field)) for field in ("name", "title", "aliases", "engine", "image")], found, reach.as_json)
    if not reach.as_json:
        for option, schema in (found.get("options") or {}).get("properties", {}).items():
            write(f"option {option}: {_kind(schema)}" + (f"; {schema['description']}" if schema.get("description") else ""))


@lists
def models(reach: Reach) -> None:
    """List models that nodes have looked at, and those of the model store."""
    columns = [
        Column("NAME", lambda m: m["name"]),
        Column("NODES", lambda m: m["nodes"]),
        Column("ARCHITECTURE", lambda m: _fact(m, "architecture")),
        Column("SERVICES", lambda m: m["services"]),
        Column("MISSING", lambda m: "; ".join(m.get("missing", {}).values()) or None),
    ]
    listing(reach.client().models(), columns, reach.as_json, "no models; `stoker serve PATH` makes nodes look at one")


@lists
def model(reach: Reach, name: Name) -> None:
    """What nodes found in one model."""
    found = _one(reach.client().models(), lambda m: m["name"] == name, "model", name)
    words: list[tuple[str, object]] = [("Name", found["name"]), ("Nodes", found["nodes"]), ("Services", found["services"])]
    words += [(f"Missing on {node}", why) for node, why in (found.get("missing") or {}).items()]
    facts = found.get("facts") or {}
    words += [(fact.replace("_", " ").capitalize(), _short(value)) for fact, value in facts.items() if value not in (None, "", [], {}, 0)]
    fields(words, found, reach.as_json)


@lists
def engines(reach: Reach) -> None:
    """List engines, node by node."""
    columns = [Column(field.upper(), _get(field)) for field in ("name", "version", "node")]
    empty = "no engines besides the built-in demo; name their environments in STOKER_ENGINE_PATH before `stoker up`"
    listing(reach.client().engines(), columns, reach.as_json, empty)


def _engine() -> None:
    pass


def _one(items: list[dict[str, Any]], fits: Any, kind: str, name: str) -> dict[str, Any]:
    found = next((item for item in items if fits(item)), None)
    if found is None:
        raise NotFound(f"there is no {kind} {name}; `stoker {kind} ls` lists them")
    return found


def _kind(schema: Row) -> str:
    kinds = [str(part.get("type")) for part in schema.get("anyOf", ()) if part.get("type") != "null"] or [str(schema.get("type", "any"))]
    default = f", default {schema['default']}" if schema.get("default") is not None else ""
    return " or ".join(kinds) + default


def _fact(model: Row, name: str) -> object:
    return (model.get("facts") or {}).get(name)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"


def _get(field: str) -> Any:
    return lambda item: item.get(field)
