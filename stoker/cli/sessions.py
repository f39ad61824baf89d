"""`stoker session …`: the running replicas."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stoker.cli.flags import lists, talks
from stoker.cli.log_lines import show_logs
from stoker.cli.reach import Reach
from stoker.cli.tables import Column, fields, listing, reason_of, write
from stoker.cli.times import age, since
from stoker.cli.tree import application

Id = Annotated[str, typer.Argument(metavar="ID", help="Or a unique prefix of it.", show_default=False)]


def commands(name: str) -> typer.Typer:
    app = application(name, "Sessions: the running replicas of services.")
    for verb, function in {"ls": ls, "info": info, "logs": logs, "weight": weight, "rm": rm}.items():
        app.command(verb)(function)
    return app


@lists
def ls(
    reach: Reach,
    service: Annotated[str | None, typer.Argument(metavar="SERVICE", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Those that are over as well.")] = False,
) -> None:
    """List sessions."""
    client = reach.client()
    if service is not None:
        client.service(service)  # a name that does not exist is not an empty list
    columns = [
        Column("ID", lambda s: s["id"]),
        Column("SERVICE", lambda s: s["service"]),
        Column("STATUS", lambda s: s["status"]),
        Column("PHASE", lambda s: s["phase"]),
        Column("NODE", lambda s: s["node"]),
        Column("GPUS", lambda s: _gpus(s)),
        Column("ADDRESS", lambda s: s["address"]),
        Column("REVISION", lambda s: s["revision"]),
        Column("AGE", lambda s: age(s.get("created_at") or s.get("started_at"))),
        Column("REASON", reason_of),
    ]
    listing(client.sessions(service, ended=everything), columns, reach.as_json, "no sessions")


@lists
def info(reach: Reach, id: Id) -> None:
    """One session."""
    session = reach.client().session(id)
    words = [(name.replace("_", " ").capitalize(), session.get(name)) for name in (
        "id", "service", "status", "phase", "node", "address", "revision", "pid", "container", "restarts", "weight",
    )]  # fmt: skip
    words += [("Reason", reason_of(session)), ("Gpus", _gpus(session))]
    words += [(f"{step.capitalize()} at", session.get(f"{step}_at")) for step in ("created", "placed", "started", "ready", "ended")]
    fields(words, session, reach.as_json)


@talks
def logs(
    reach: Reach,
    id: Id,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come; Ctrl-C ends it.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, metavar="N", help="The last N lines.")] = None,
    since_: Annotated[str | None, typer.Option("--since", metavar="10m")] = None,
) -> None:
    """What its engine says."""
    show_logs(reach.client().session_logs(id, tail=tail, since=since(since_), follow=follow))


@talks
def weight(reach: Reach, id: Id, weight: Annotated[int, typer.Argument(metavar="0..100", min=0, max=100)]) -> None:
    """How much of the traffic it gets, beside the others; 0 is nothing new."""
    session = reach.client().weigh_session(id, weight)
    write(f"session/{session['id']} weight {weight}")


@talks
def rm(reach: Reach, id: Id, now: Annotated[bool, typer.Option("--now", help="End its requests too.")] = False) -> None:
    """End it; another takes its place while the service wants it."""
    session = reach.client().delete_session(id, now=now)
    write(f"session/{session.get('id', id)} ends" + ("" if now else " when its requests are done"))


def _gpus(session: Any) -> str:
    return ", ".join(f"{gpu['share']:g} of {gpu['device']}" for gpu in session["gpus"])
