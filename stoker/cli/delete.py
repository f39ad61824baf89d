"""`stoker delete -f FILE`."""

from __future__ import annotations

from typing import Annotated

import typer

from stoker.cli import failure
from stoker.cli.flags import talks
from stoker.cli.reach import Reach
from stoker.cli.spec_files import read_services
from stoker.cli.tables import write
from stoker.cli.tree import single
from stoker.errors import InvalidRequest, NotFound


def commands(name: str) -> typer.Typer:
    return single(name, delete)


@talks
def delete(
    reach: Reach,
    file: Annotated[list[str] | None, typer.Option("-f", "--filename", metavar="FILE|DIR|-", help="Several are possible.")] = None,
    now: Annotated[bool, typer.Option("--now", help="End their requests too.")] = False,
) -> None:
    """Delete the services that these documents name."""
    if not file:
        raise InvalidRequest("-f is missing: name a file, a folder, or - for stdin; `stoker service rm NAME` deletes by name")
    client, missing = reach.client(), False
    for document in read_services(file):
        try:
            client.delete_service(document.spec.name, now=now)
            write(f"service/{document.spec.name} deleted")
        except NotFound as error:
            failure.say(error.message)
            missing = True
    if missing:
        raise failure.Quit(failure.MISSING)
