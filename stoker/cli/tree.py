"""All commands by name, each imported only when it is typed, so that every one of them starts quickly."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from stoker.errors import InvalidRequest

_HELP = "Serve models: one command makes a model folder an OpenAI-compatible endpoint."

COMMANDS = {
    "serve": "stoker.cli.serve",
    "up": "stoker.cli.up.command",
    "down": "stoker.cli.up.down",
    "status": "stoker.cli.status",
    "version": "stoker.cli.version",
    "config": "stoker.cli.config",
    "env": "stoker.cli.env",
    "chat": "stoker.cli.chat",
    "apply": "stoker.cli.apply",
    "delete": "stoker.cli.delete",
    "service": "stoker.cli.services",
    "session": "stoker.cli.sessions",
    "node": "stoker.cli.nodes",
    "token": "stoker.cli.tokens",
    "job": "stoker.cli.jobs",
    "events": "stoker.cli.events",
    "variant": "stoker.cli.catalogue",
    "model": "stoker.cli.catalogue",
    "engine": "stoker.cli.catalogue",
    "router": "stoker.cli.role",
    "scheduler": "stoker.cli.role",
    "worker": "stoker.cli.role",
    "runner": "stoker.cli.role",
}
"""Command to module; each module's `commands(name)` makes its typer application."""

ALIASES = {
    "ps": "status",
    "services": "service",
    "sessions": "session",
    "nodes": "node",
    "tokens": "token",
    "jobs": "job",
    "variants": "variant",
    "models": "model",
    "engines": "engine",
    "event": "events",
}

LATER = ("secret", "secrets", "project", "projects", "usage", "simulate", "store")
"""Commands of the public contract that this version does not have."""

VERBS = {
    **dict.fromkeys(("list",), "ls"),
    **dict.fromkeys(("show", "get", "inspect", "describe"), "info"),
    **dict.fromkeys(("delete", "remove"), "rm"),
    "log": "logs",
    "event": "events",
    "route": "routes",
    "revision": "revisions",
}
"""Other words for the commands of a noun."""

LATER_VERBS = {
    "service": ("rollout", "plan"),
    "node": ("token",),
    "token": ("usage",),
    "model": ("pull", "rm"),
    "engine": ("install", "rm"),
}


class Noun(TyperGroup):
    """A group whose commands have other names too, and that says which are still to come."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name) or super().get_command(ctx, VERBS.get(cmd_name, ""))
        if found is None and VERBS.get(cmd_name, cmd_name) in LATER_VERBS.get(self.name or "", ()):
            raise InvalidRequest(
                f"this version of Stoker does not have `stoker {self.name} {cmd_name}` yet; see `stoker {self.name} --help`"
            )
        return found


class Root(TyperGroup):
    """The first word, looked up in the tables above."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        name = ALIASES.get(cmd_name, cmd_name)
        if name in LATER:
            raise InvalidRequest(f"this version of Stoker does not have `stoker {cmd_name}` yet; see `stoker --help`")
        if name not in COMMANDS:
            return None
        return get_command(_module(name)(name))


def command() -> Any:
    """The root command, without any of the others being imported."""
    root = typer.Typer(cls=Root, add_completion=False, rich_markup_mode=None, no_args_is_help=True, help=_HELP)
    root.callback()(_root)
    return get_command(root)


def application(name: str, help: str) -> typer.Typer:
    """An empty noun."""
    return typer.Typer(cls=Noun, name=name, help=help, add_completion=False, rich_markup_mode=None, no_args_is_help=True)


def single(name: str, function: Callable[..., Any], **settings: Any) -> typer.Typer:
    """An application that is one command."""
    app = typer.Typer(name=name, add_completion=False, rich_markup_mode=None)
    app.command(name, **settings)(function)
    return app


def _module(name: str) -> Callable[[str], typer.Typer]:
    made: Callable[[str], typer.Typer] = importlib.import_module(COMMANDS[name]).commands
    return made


def _root(
    config: Annotated[str | None, typer.Option(metavar="FILE", help="Settings file instead of stoker.toml.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if config is not None:
        os.environ["STOKER_CONFIG"] = os.path.abspath(config)
