"""`stoker version`."""

from __future__ import annotations

import typer

import stoker
from stoker.cli.tables import write
from stoker.cli.tree import single


def commands(name: str) -> typer.Typer:
    return single(name, version)


def version() -> None:
    """Print the version."""
    write(f"stoker {stoker.__version__}")
