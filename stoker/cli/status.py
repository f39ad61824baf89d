"""`stoker status`: the platform and its services at a glance."""

from __future__ import annotations

import json
from typing import Any

import typer

from stoker.cli.flags import lists
from stoker.cli.reach import Reach
from stoker.cli.replicas import show_replicas
from stoker.cli.tables import Column, fields, listing, reason_of, write
from stoker.cli.times import age
from stoker.cli.tree import single


def commands(name: str) -> typer.Typer:
    return single(name, status)


@lists
def status(reach: Reach) -> None:
    """The router, the nodes and the services."""
    client = reach.client()
    ready, nodes, services = client.ready(), client.nodes(), client.services()
    if reach.as_json:
        write(json.dumps({"url": reach.url, **ready, "nodes": nodes, "services": services}, indent=2, ensure_ascii=False))
        return
    words = [
        ("Router", reach.url),
        ("Version", ready.get("version")),
        ("Store", ready.get("store")),
        ("Leader", ready.get("leader") or "none yet"),
    ]
    fields([*words, ("Nodes", _nodes(nodes))], {}, False)
    write("")
    columns = [
        Column("SERVICE", lambda s: s["name"]),
        Column("STATUS", lambda s: s["status"]),
        Column("READY", lambda s: show_replicas(dict(s))),
        Column("AGE", lambda s: age(s["created_at"])),
        Column("REASON", reason_of),
    ]
    listing(services, columns, False, "no services; type `stoker serve demo` to make one")


def _nodes(nodes: list[dict[str, Any]]) -> str:
    return (
        ", ".join(f"{node['name']} ({node['status']})" for node in nodes) or "none; `stoker up` or `stoker worker` makes this machine one"
    )
