"""One service at length: its state, why it is so, and what happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from stoker.cli.flags import lists
from stoker.cli.reach import Reach
from stoker.cli.replicas import show_replicas
from stoker.cli.tables import Column, fields, listing, reason_of, write
from stoker.cli.times import age
from stoker.resources import format_size

Json = Mapping[str, Any]


@lists
def info(
    reach: Reach,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    yaml: Annotated[bool, typer.Option("--yaml", help="What `stoker apply` takes.")] = False,
) -> None:
    """Its state; with --yaml its specification."""
    service = reach.client().service(name)
    if yaml and not reach.as_json:
        write(as_yaml(service["spec"]).rstrip())
        return
    words = [
        ("Name", service["name"]),
        ("Status", service["status"]),
        ("Reason", reason_of(service)),
        ("Ready", show_replicas(service)),
        ("Model", service["spec"].get("model")),
        ("Model names", service["model_name"]),
        ("Variant", service["variant"]),
        ("Endpoint", service["endpoint"]),
        ("Public", "yes, no token is asked for" if service["open_to_public"] else None),
        ("Project", service["project"]),
        ("Owner", service["owner"]),
        ("Labels", [f"{key}={value}" for key, value in service["labels"].items()]),
        ("Version", f"{service['version']} (revision {service['revision']})"),
        ("Age", age(service["created_at"])),
        ("Sessions", service["sessions"]),
    ]
    fields(words, service, reach.as_json)


@lists
def explain(reach: Reach, name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]) -> None:
    """Why its sessions are where they are, or nowhere."""
    client = reach.client()
    explained = client.explain(name)
    if reach.as_json:
        fields((), explained, True)
        return
    service = client.service(name)
    write(f"{name} is {service['status']}" + (f": {reason_of(service)}" if service.get("reason") else ""))
    show_explained(explained)


def show_explained(explained: Json) -> None:
    """The contract's dry-run object, for people."""
    for line in explained_lines(explained):
        write(line)


def explained_lines(explained: Json) -> list[str]:
    """One fact per line, the changes first."""
    lines = [f"  {change}" for change in explained.get("diff") or ()]
    lines += [_fits(explained)]
    resolved = explained.get("resolved")
    if resolved:
        parts = [resolved["variant"], resolved["runtime"], resolved.get("engine"), resolved.get("image"), _gpu(resolved.get("gpu"))]
        lines.append(
            "resolved:  " + ", ".join(str(part) for part in parts if part) + (f" ({resolved['why']})" if resolved.get("why") else "")
        )
    if explained.get("argv"):
        lines.append("command:   " + " ".join(explained["argv"]))
    if explained.get("memory"):
        lines.append("memory:    " + ", ".join(f"{term['term']} {format_size(term['bytes'])}" for term in explained["memory"]))
    lines += [f"placement: {_place(place)}" for place in explained.get("placement") or ()]
    lines += [f"refused:   {refusal['node']}: {refusal['message']} ({refusal['code']})" for refusal in explained.get("refused") or ()]
    lines += [f"nearest:   {near['sentence']}" for near in explained.get("nearest") or ()]
    lines += [f"note:      {note}" for note in explained.get("notes") or ()]
    return lines


def list_events(reach: Reach, events: list[dict[str, Any]]) -> None:
    columns = [
        Column("TIME", lambda e: e["time"][:19] + "Z"),
        Column("OBJECT", lambda e: e["object"]),
        Column("REASON", lambda e: e["reason"]),
        Column("MESSAGE", lambda e: e["message"]),
        Column("BY", lambda e: e["actor"]),
    ]
    listing(events, columns, reach.as_json, "no events")


def as_yaml(spec: Mapping[str, Any]) -> str:
    """As a person would write it: the fields in their order, no anchors."""
    import yaml

    return str(yaml.safe_dump(dict(spec), sort_keys=False, allow_unicode=True, default_flow_style=False))


def _fits(explained: Json) -> str:
    fits, reason = explained.get("fits"), explained.get("reason")
    words = {True: "it fits", False: "it does not fit", None: "whether it fits is not known yet"}[fits]
    return words + (f": {reason['message']} ({reason['code']})" if reason else "")


def _gpu(amount: object) -> str | None:
    return f"{amount:g} GPU" if isinstance(amount, int | float) and amount else None


def _place(place: Json) -> str:
    devices = ", ".join(f"{share['share']:g} of {share['device']}" for share in place.get("gpus") or ())
    return f"{place['node']} ({devices})" if devices else str(place["node"])
