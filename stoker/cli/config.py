"""`stoker config`: each setting and where it came from."""

from __future__ import annotations

import os
import re
from typing import Any

import typer

from stoker.cli.flags import lists
from stoker.cli.reach import Reach
from stoker.cli.settings_file import configured, settings_file
from stoker.cli.tables import Column, listing
from stoker.cli.tree import single

OTHERS = ("url", "token", "config")
"""Of the command line alone, which has no other settings."""


def commands(name: str) -> typer.Typer:
    return single(name, config)


@lists
def config(reach: Reach) -> None:
    """Print each setting and where it came from."""
    from stoker.settings import load

    settings = load(data_dir=reach.data.path)
    rows = [{"setting": name, "value": _shown(value), "from": _origin(name)} for name, value in settings]
    rows += [{"setting": n, "value": _hidden(n, os.environ[f"STOKER_{n.upper()}"]), "from": f"environment STOKER_{n.upper()}"}
             for n in OTHERS if os.environ.get(f"STOKER_{n.upper()}")]  # fmt: skip
    columns = [Column(field.upper(), _get(field)) for field in ("setting", "value", "from")]
    listing(rows, columns, reach.as_json, "no settings")


def _origin(name: str) -> str:
    variable = f"STOKER_{name.upper()}"
    if variable in os.environ:
        return f"environment {variable}"
    if configured(name) is not None:
        return str(settings_file())
    return "default"


def _shown(value: Any) -> Any:
    """As text; secrets stay secret, passwords in URLs too."""
    if value is None:
        return None
    if type(value).__name__ == "SecretStr":
        return "********"
    if isinstance(value, tuple | list):
        return ",".join(str(part) for part in value) or None
    if isinstance(value, dict):
        return ",".join(f"{key}={part}" for key, part in value.items()) or None
    return re.sub(r"://[^/@]*@", "://********@", str(value))


def _hidden(name: str, value: str) -> str:
    return "********" if name == "token" else value


def _get(field: str) -> Any:
    return lambda row: row[field]
