"""`stoker node …`: the machines."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stoker.cli.flags import lists, talks
from stoker.cli.reach import Reach
from stoker.cli.tables import Column, fields, listing, reason_of, write
from stoker.cli.times import age, seconds_of
from stoker.cli.tree import application
from stoker.resources import format_size

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


def commands(name: str) -> typer.Typer:
    app = application(name, "Nodes: machines with a worker.")
    for verb, function in {"ls": ls, "info": info, "cordon": cordon, "uncordon": uncordon, "drain": drain, "rm": rm}.items():
        app.command(verb)(function)
    return app


@lists
def ls(reach: Reach) -> None:
    """List nodes."""
    columns = [
        Column("NAME", lambda n: n["name"]),
        Column("STATUS", lambda n: n["status"]),
        Column("GROUP", lambda n: n["group"]),
        Column("CPU", lambda n: _used(n, "cpu")),
        Column("MEMORY", lambda n: _used(n, "memory")),
        Column("GPU", lambda n: _used(n, "gpu")),
        Column("GPUS", lambda n: _models(n)),
        Column("SEEN", lambda n: age(n["last_seen"])),
        Column("REASON", reason_of),
    ]
    listing(reach.client().nodes(), columns, reach.as_json, "no nodes; `stoker up` or `stoker worker` makes this machine one")


@lists
def info(reach: Reach, name: Name) -> None:
    """One node, with its GPUs."""
    node = reach.client().node(name)
    words: list[tuple[str, object]] = [
        ("Name", node["name"]),
        ("Status", node["status"]),
        ("Reason", reason_of(node)),
        ("Group", node["group"]),
        ("Labels", [f"{key}={value}" for key, value in node["labels"].items()]),
        ("Runtimes", node["runtimes"]),
        ("Engines", [f"{engine['name']}=={engine['version']}" for engine in node["engines"]]),
        ("CPU", _used(node, "cpu")),
        ("Memory", _used(node, "memory")),
        ("GPU", _used(node, "gpu")),
        ("Sessions", node.get("sessions")),
        ("Last seen", node["last_seen"]),
    ]
    words += [(f"GPU {gpu['id']}", _gpu(gpu)) for gpu in node["gpus"]]
    fields(words, node, reach.as_json)


@talks
def cordon(reach: Reach, name: Name, gpu: Annotated[str | None, typer.Option(metavar="ID", help="Only this GPU.")] = None) -> None:
    """No new sessions there; those that run stay."""
    reach.client().cordon(name, gpu)
    write(f"node/{name} cordoned" if gpu is None else f"node/{name}: GPU {gpu} cordoned")


@talks
def uncordon(reach: Reach, name: Name) -> None:
    """Open it again, with all of its GPUs."""
    reach.client().uncordon(name)
    write(f"node/{name} takes sessions again")


@talks
def drain(
    reach: Reach, name: Name, timeout: Annotated[str, typer.Option(metavar="S", help="Then what is left is stopped.")] = "300"
) -> None:
    """Cordon it and let its sessions move away."""
    reach.client().drain(name, seconds_of(timeout, "--timeout"))
    write(f"node/{name} drains; `stoker node info {name}` shows what is left, `stoker node uncordon {name}` brings it back")


@talks
def rm(reach: Reach, name: Name, lost: Annotated[bool, typer.Option("--lost", help="It will not come back.")] = False) -> None:
    """Forget a node that holds nothing, or that is lost for good."""
    reach.client().remove_node(name, lost=lost)
    write(f"node/{name} removed")


def _used(node: Any, what: str) -> str:
    used, total = node["resources"]["used"].get(what, 0), node["resources"]["total"].get(what, 0)
    if what == "memory":
        return f"{format_size(int(used))}/{format_size(int(total))}"
    return f"{used:g}/{total:g}"


def _models(node: Any) -> str:
    counts: dict[str, int] = {}
    for gpu in node["gpus"]:
        counts[gpu["model"]] = counts.get(gpu["model"], 0) + 1
    return ", ".join(f"{count}x{model}" for model, count in counts.items())


def _gpu(gpu: Any) -> str:
    words = [gpu["model"], format_size(int(gpu["memory"])), gpu["status"], f"{gpu['used_share']:g} used"]
    if gpu.get("foreign_memory"):
        words.append(f"{format_size(int(gpu['foreign_memory']))} held by other processes")
    return ", ".join([*words, *([reason_of(gpu)] if gpu.get("reason") else [])])
