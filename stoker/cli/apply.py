"""`stoker apply -f FILE|DIR|-`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from stoker.cli import failure
from stoker.cli.flags import talks
from stoker.cli.reach import Reach
from stoker.cli.service_views import explained_lines
from stoker.cli.spec_files import Read, read_services
from stoker.cli.tables import write
from stoker.cli.times import seconds_of
from stoker.cli.tree import single
from stoker.client import Client
from stoker.errors import InvalidRequest, InvalidSpec


def commands(name: str) -> typer.Typer:
    return single(name, apply)


@talks
def apply(
    reach: Reach,
    file: Annotated[list[str] | None, typer.Option("-f", "--filename", metavar="FILE|DIR|-", help="Several are possible.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The difference and the placement; nothing is changed.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until all are up.")] = False,
    timeout: Annotated[str, typer.Option(metavar="S")] = "1800",
) -> None:
    """Make the services of these documents what the documents say. All are checked before any is applied."""
    if not file:
        raise InvalidRequest("-f is missing: name a file, a folder, or - for stdin")
    seconds = seconds_of(timeout, "--timeout")
    documents = read_services(file)
    client = reach.client()
    if dry_run:
        _dry(client, documents)
        return
    _check_variants(client, documents)
    for document in documents:
        _put(client, document)
    if wait:
        _wait(client, [document.spec.name for document in documents], seconds)


def _check_variants(client: Client, documents: list[Read]) -> None:
    """Variants and their options are the router's to judge; a wrong one is told before the first document is applied."""
    named = [document for document in documents if document.spec.variant != "auto"]
    for document in named if len(documents) > 1 else ():
        with _placed(document):
            client.dry_run(document.spec.name, document.spec.to_json())


@contextmanager
def _placed(document: Read) -> Iterator[None]:
    """A refusal of the router is told with file, line and field."""
    try:
        yield
    except InvalidSpec as error:
        raise document.refused(error) from error


def _dry(client: Client, documents: list[Read]) -> None:
    fits = True
    for document in documents:
        with _placed(document):
            answer = client.dry_run(document.spec.name, document.spec.to_json())
        fits = fits and bool(answer.get("fits"))
        write(f"service/{document.spec.name}" + ("" if answer.get("diff") else " unchanged"))
        for line in explained_lines(answer):
            write(f"  {line}")
    if not fits:
        raise failure.Quit(failure.FAILED)


def _put(client: Client, document: Read) -> None:
    with _placed(document):
        answer = client.put_service(document.spec.name, document.spec.to_json())
    write(f"service/{document.spec.name} {_done(answer)}")
    for note in answer.get("notes") or ():
        failure.say(f"note: {document.where}: {note}")


def _done(answer: dict[str, Any]) -> str:
    if answer.get("created"):
        return "created"
    return f"changed, now revision {answer['revision']}" if answer.get("changed") else "unchanged"


def _wait(client: Client, names: list[str], seconds: float) -> None:
    from stoker.cli.start_show import last_lines, wait_for

    missing, deadline = [], time.monotonic() + seconds
    for name in names:
        write(f"{name}:")
        look = wait_for(client, name, max(0.0, deadline - time.monotonic()), seconds)
        if look.resting:
            write(f"  {look.detail}")
        if look.done:
            continue
        missing.append(name)
        failure.say(f"{name} is not up; {look.detail}; `stoker service explain {name}` says more")
        for line in last_lines(client, name):
            typer.echo(line, err=True)
    if missing:
        raise failure.Quit(failure.FAILED)
