"""Flags that many commands share, added to a command's own by a decorator."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from stoker.cli.reach import Reach
from stoker.errors import InvalidRequest

Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The router's address; else STOKER_URL, else the local platform.")]
Token = Annotated[str | None, typer.Option("--token", metavar="TOKEN", help="Else STOKER_TOKEN, else the local platform's admin token.")]
DataDirectory = Annotated[str | None, typer.Option("--data-dir", metavar="DIR", help="Of the local platform; else STOKER_DATA_DIR.")]
Output = Annotated[str | None, typer.Option("-o", "--output", metavar="json|table", help="The form of the answer.")]
Json = Annotated[bool, typer.Option("--json", help="The same as -o json.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", hidden=True)]

Command = Callable[..., None]


def talks(function: Command) -> Command:
    """A command whose first parameter is the Reach that --url, --token and --data-dir make."""
    return _extended(function, {"url": Url, "token": Token, "data_dir": DataDirectory})


def lists(function: Command) -> Command:
    """The same for one that answers as a table, or as JSON with -o json or --json."""
    return _extended(function, {"output": Output, "json": Json, "url": Url, "token": Token, "data_dir": DataDirectory})


def _extended(function: Command, more: dict[str, Any]) -> Command:
    more = {**more, "debug": Debug}

    @functools.wraps(function)
    def command(**values: Any) -> None:
        words = {name: values.pop(name) for name in more}
        as_json = _as_json(words.get("output"), bool(words.get("json")))
        with contextlib.closing(Reach(words["url"], words["token"], words["data_dir"], as_json)) as reach:
            function(reach, **values)

    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    default: dict[Any, Any] = {Json: False, Debug: False}
    shared = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=default.get(a), annotation=a) for n, a in more.items()]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    del command.__wrapped__  # typer would look at the function behind it
    return command


def _as_json(output: str | None, json: bool) -> bool:
    if output not in (None, "json", "table"):
        raise InvalidRequest(f"-o takes json or table, not {output!r}")
    return json or output == "json"
