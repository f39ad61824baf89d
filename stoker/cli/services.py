"""`stoker service …`: what there is, and what can be done to it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stoker.cli import failure, service_create, service_views
from stoker.cli.flags import lists, talks
from stoker.cli.log_lines import show_logs
from stoker.cli.reach import Reach
from stoker.cli.reached_endpoint import reached_endpoint
from stoker.cli.replicas import parse_replicas, show_replicas
from stoker.cli.tables import Column, listing, reason_of, write
from stoker.cli.times import age, since
from stoker.cli.tree import application

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


def commands(name: str) -> typer.Typer:
    app = application(name, "Services: what is served.")
    for verb, function in {
        "ls": ls, "info": service_views.info, "events": events, "explain": service_views.explain, "routes": routes,
        "revisions": revisions, "get-endpoint": get_endpoint, "create": service_create.create, "scale": scale, "restart": restart,
        "rollback": rollback, "logs": logs, "generate-token": generate_token, "rm": rm,
    }.items():  # fmt: skip
        app.command(verb)(function)
    return app


@lists
def ls(reach: Reach, labels: Annotated[list[str] | None, typer.Option("-l", "--label", metavar="K=V")] = None) -> None:
    """List services."""
    items = reach.client().services(",".join(labels) if labels else None)
    columns = [
        Column("NAME", lambda s: s["name"]),
        Column("STATUS", lambda s: s["status"]),
        Column("READY", lambda s: show_replicas(dict(s))),
        Column("MODEL", lambda s: s["spec"].get("model")),
        Column("VARIANT", lambda s: s["variant"]),
        Column("ENDPOINT", lambda s: s["endpoint"]),
        Column("PROJECT", lambda s: s["project"]),
        Column("OWNER", lambda s: s["owner"]),
        Column("AGE", lambda s: age(s["created_at"])),
    ]
    listing(items, columns, reach.as_json, "no services; type `stoker serve demo` to make one")


@lists
def events(reach: Reach, name: Name, since_: Annotated[str | None, typer.Option("--since", metavar="10m")] = None) -> None:
    """What happened to it, oldest first."""
    service_views.list_events(reach, reach.client().service_events(name, since=since(since_)))


@lists
def routes(reach: Reach, name: Name) -> None:
    """Its sessions as the router sees them."""
    columns = [Column(field.upper().replace("_", " "), _get(field)) for field in ("session", "address", "health", "weight", "in_flight")]
    listing(
        reach.client().routes(name), columns, reach.as_json, f"no session of {name} takes requests; `stoker service info {name}` says why"
    )


@lists
def revisions(reach: Reach, name: Name) -> None:
    """What its sessions were started from, newest first."""
    columns = [
        Column("REVISION", lambda r: f"{r['revision']}{' (current)' if r.get('current') else ''}"),
        Column("VERSION", lambda r: r["version"]),
        Column("MODEL", lambda r: r["spec"].get("model")),
        Column("BY", lambda r: r["actor"]),
    ]
    listing(reach.client().revisions(name), columns, reach.as_json, "no revisions")


@talks
def get_endpoint(reach: Reach, name: Name) -> None:
    """Print its address; with /v1 behind it, an OpenAI base URL."""
    service = reach.client().service(name)
    write(service["endpoint"])
    reached = reached_endpoint(reach, service)
    if reached != service["endpoint"]:
        failure.say(f"note: the router has another address now than when {name} was made; it is reached at {reached}")


@talks
def scale(reach: Reach, name: Name, replicas: Annotated[str, typer.Argument(metavar="N|MIN..MAX")]) -> None:
    """Another number of replicas; no session restarts for it."""
    _say(reach.client().scale(name, parse_replicas(replicas)), f"replicas {replicas}")


@talks
def restart(
    reach: Reach,
    name: Name,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Only this one.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Choose anew what auto and the defaults chose.")] = False,
) -> None:
    """All sessions anew; a service that was given up is tried again."""
    answer = reach.client().restart(name, session=session, refresh=refresh)
    if session is not None:
        write(f"session/{answer.get('id', session)} ends, and another takes its place")
    else:
        _say(answer, f"restarting as revision {answer['revision']}")


@talks
def rollback(reach: Reach, name: Name, revision: Annotated[int | None, typer.Argument(metavar="REV", show_default=False)] = None) -> None:
    """Back to an earlier revision; without REV, the one before the current."""
    answer = reach.client().rollback(name, revision)
    done = (
        f"rolled back; the revision is now {answer['revision']}" if answer.get("changed", True) else "is as it was there; nothing changed"
    )
    _say(answer, done)


@talks
def logs(
    reach: Reach,
    name: Name,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come; Ctrl-C ends it.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, metavar="N", help="The last N lines.")] = None,
    since_: Annotated[str | None, typer.Option("--since", metavar="10m")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Of this session alone.")] = None,
    previous: Annotated[bool, typer.Option("--previous", help="Of the last session that is over.")] = False,
) -> None:
    """What its engines say."""
    lines = reach.client().logs(name, tail=tail, since=since(since_), follow=follow, session=session, previous=previous)
    if show_logs(lines) or tail == 0:
        return
    if previous:
        typer.echo(f"stoker: {name} has no session that is over, or it said nothing; `stoker session ls {name} --all` lists them", err=True)
    else:
        typer.echo(f"stoker: {name} has said nothing; `stoker service info {name}` shows its state", err=True)


@talks
def generate_token(reach: Reach, name: Name, duration: Annotated[str, typer.Argument(metavar="DURATION")] = "30d") -> None:
    """Print a new token that may call this service and nothing else."""
    client = reach.client()
    project = client.service(name)["project"]
    made = client.create_token(name=f"for {name}", project=project, role="user", services=[name], expires=duration)
    write(made["token"])


@talks
def rm(reach: Reach, name: Name, now: Annotated[bool, typer.Option("--now", help="End its requests too.")] = False) -> None:
    """Delete it; its requests may end first."""
    reach.client().delete_service(name, now=now)
    write(f"service/{name} deleted" + ("" if now else "; its sessions drain"))


def _say(service: dict[str, Any], done: str) -> None:
    reason = reason_of(service)
    write(f"service/{service['name']} {done} ({service['status']}{', ' + reason if reason else ''})")


def _get(field: str) -> Any:
    return lambda item: item[field]
