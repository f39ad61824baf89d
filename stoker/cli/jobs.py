"""`stoker job …`: requests that may wait."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from stoker.cli import failure
from stoker.cli.flags import lists, talks
from stoker.cli.reach import Reach
from stoker.cli.tables import Column, fields, listing, reason_of, write
from stoker.cli.times import age, seconds_of
from stoker.cli.tree import application
from stoker.connection import segment
from stoker.errors import InvalidRequest, JobNotFinished, ModelNotFound

Id = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
_LISTED = 200
_ENDED = frozenset({"succeeded", "failed", "cancelled", "expired"})


def commands(name: str) -> typer.Typer:
    app = application(name, "Jobs: inference requests that may wait, and are never lost.")
    verbs = {"submit": submit, "ls": ls, "info": info, "result": result, "events": events, "cancel": cancel, "retry": retry}
    for verb, function in verbs.items():
        app.command(verb)(function)
    app.command("webhook-secret")(webhook_secret)
    return app


@lists
def submit(
    reach: Reach,
    target: Annotated[str, typer.Argument(metavar="SERVICE|MODEL", show_default=False)],
    data: Annotated[str, typer.Option("-d", "--data", metavar="JSON|@FILE|-", help="The request's body.")],
    path: Annotated[str, typer.Option("--path", help="Of the engine.")] = "/v1/chat/completions",
    wait: Annotated[bool, typer.Option("--wait", help="Print the result once it is there; Ctrl-C leaves the job running.")] = False,
    webhook: Annotated[str | None, typer.Option("--webhook", metavar="URL", help="Told when the job has ended.")] = None,
    priority: Annotated[int, typer.Option("--priority", min=0, max=100, help="Higher is first.")] = 10,
    deadline: Annotated[str | None, typer.Option("--deadline", metavar="S", help="Give up after so long (2h); a day by default.")] = None,
) -> None:
    """Accept a request for later; prints the job's id."""
    words: dict[str, Any] = {"path": path, "body": _body(data), "priority": priority}
    words |= {"webhook": webhook} if webhook else {}
    words |= {"deadline_seconds": seconds_of(deadline, "--deadline")} if deadline else {}
    client = reach.client()
    try:
        job = client.ask("POST", "/v1/jobs", body={"service": target, **words})
    except ModelNotFound:
        job = client.ask("POST", "/v1/jobs", body={"model": target, **words})
    if wait:
        _show_result(client, job["id"], wait=True)
    else:
        write(json.dumps(job, indent=2) if reach.as_json else job["id"])


@lists
def ls(
    reach: Reach,
    status: Annotated[str | None, typer.Option("--status", metavar="S", help="Only those: queued, running, succeeded, …")] = None,
    service: Annotated[str | None, typer.Option("--service", metavar="NAME")] = None,
) -> None:
    """The newest jobs."""
    page = reach.client().ask("GET", "/v1/jobs", query={"status": status, "service": service, "limit": _LISTED})
    columns = [
        Column("ID", lambda job: job["id"]),
        Column("SERVICE", lambda job: job["service"]),
        Column("STATUS", lambda job: job["status"]),
        Column("ATTEMPTS", lambda job: job["attempts"]),
        Column("PRIORITY", lambda job: job["priority"]),
        Column("AGE", lambda job: age(job["created_at"])),
        Column("REASON", reason_of),
    ]
    listing(page["items"], columns, reach.as_json, "no jobs")


@lists
def info(reach: Reach, id: Id) -> None:
    """One job."""
    job = reach.client().ask("GET", f"/v1/jobs/{segment(id)}")
    names = ("id", "service", "path", "status", "attempts", "position", "priority", "project", "webhook", "retry_of")
    words = [(name.replace("_", " ").capitalize(), job.get(name)) for name in names]
    words += [("Reason", reason_of(job))]
    words += [(f"{step.capitalize()} at", job.get(f"{step}_at")) for step in ("created", "started", "finished", "expires", "deadline")]
    fields(words, job, reach.as_json)


@talks
def result(reach: Reach, id: Id, wait: Annotated[bool, typer.Option("--wait", help="Until it is there.")] = False) -> None:
    """What the engine answered."""
    _show_result(reach.client(), id, wait=wait)


@talks
def events(
    reach: Reach,
    id: Id,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job ends; Ctrl-C ends it.")] = False,
) -> None:
    """What happened to it: one line NUMBER EVENT DATA each."""
    number = kind = ""
    for line in reach.client().lines("GET", f"/v1/jobs/{segment(id)}/events", quiet=None if follow else 60.0, follow=follow or "false"):
        name, _, text = line.partition(": ")
        if name == "id":
            number = text
        elif name == "event":
            kind = text
        elif name == "data":
            write(f"{number} {kind} {text}")


@lists
def cancel(reach: Reach, id: Id) -> None:
    """End it; one that has ended stays as it is."""
    job = reach.client().ask("DELETE", f"/v1/jobs/{segment(id)}")
    write(json.dumps(job, indent=2) if reach.as_json else f"job/{job['id']} {job['status']}")


@lists
def retry(reach: Reach, id: Id) -> None:
    """A new job with the request of one that has ended; prints its id."""
    job = reach.client().ask("POST", f"/v1/jobs/{segment(id)}/retry")
    write(json.dumps(job, indent=2) if reach.as_json else job["id"])


@talks
def webhook_secret(reach: Reach, project: Annotated[str | None, typer.Option("--project", metavar="P")] = None) -> None:
    """The secret that signs the webhooks of a project, for those who verify them."""
    write(reach.client().ask("GET", "/admin/webhook-secret", query={"project": project})["secret"])


def _show_result(client: Any, id: str, *, wait: bool) -> None:
    """Its body; the exit code is 1 where the job did not succeed."""
    while wait and client.ask("GET", f"/v1/jobs/{segment(id)}", query={"wait": 50}, timeout=70.0)["status"] not in _ENDED:
        continue
    try:
        for line in client.lines("GET", f"/v1/jobs/{segment(id)}/result", quiet=60.0):
            write(line)
    except JobNotFinished as error:
        failure.say(f"{error.message}; `stoker job result {id} --wait` waits for it")
        raise failure.Quit(failure.FAILED) from None


def _body(text: str) -> Any:
    """JSON as typed, from a file, or from stdin."""
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        text = Path(text[1:]).read_text("utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"-d is no JSON: {error}; write it in single quotes, or as @FILE") from None
