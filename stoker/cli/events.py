"""`stoker events`: what happened in the cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from stoker.cli.flags import lists
from stoker.cli.reach import Reach
from stoker.cli.service_views import list_events
from stoker.cli.times import since
from stoker.cli.tree import single


def commands(name: str) -> typer.Typer:
    return single(name, events)


@lists
def events(reach: Reach, since_: Annotated[str | None, typer.Option("--since", metavar="1h")] = None) -> None:
    """What happened, oldest first."""
    list_events(reach, reach.client().events(since=since(since_)))
