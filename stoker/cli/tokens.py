"""`stoker token …`: who may ask."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stoker.cli import failure
from stoker.cli.flags import lists, talks
from stoker.cli.pairs import parse_pairs
from stoker.cli.reach import Reach
from stoker.cli.tables import Column, fields, listing, write
from stoker.cli.times import age
from stoker.cli.tree import application
from stoker.errors import InvalidRequest

Id = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
Words = list[str] | None


def commands(name: str) -> typer.Typer:
    app = application(name, "Tokens: bearer secrets of projects.")
    for verb, function in {"create": create, "ls": ls, "rotate": rotate, "rm": rm}.items():
        app.command(verb)(function)
    return app


@lists
def create(
    reach: Reach,
    name: Annotated[str | None, typer.Option("--name", metavar="N")] = None,
    project: Annotated[str | None, typer.Option(metavar="P")] = None,
    role: Annotated[str, typer.Option(metavar="admin|deployer|viewer|user")] = "user",
    service: Annotated[Words, typer.Option("--service", metavar="S", help="Only for these; for role user.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="90d|never")] = None,
    limit: Annotated[Words, typer.Option("--limit", metavar="K=V", help="Such as requests_per_minute=60.")] = None,
) -> None:
    """Make a token. Its secret is shown once, here."""
    made = reach.client().create_token(
        name=name, project=project, role=role, services=service, expires=expires, limits=_limits(limit or []) or None
    )
    words = [(label, made.get(field)) for label, field in (
        ("Token", "token"), ("Id", "id"), ("Name", "name"), ("Project", "project"), ("Role", "role"), ("Services", "services"),
        ("Expires", "expires_at"),
    )]  # fmt: skip
    _tell_notes(made)
    fields(words, made, reach.as_json)


@lists
def ls(reach: Reach, everything: Annotated[bool, typer.Option("--all", "-a", help="Expired ones as well.")] = False) -> None:
    """List tokens, without their secrets."""
    columns = [
        Column("ID", lambda t: t["id"]),
        Column("NAME", lambda t: t["name"]),
        Column("PROJECT", lambda t: t["project"]),
        Column("ROLE", lambda t: t["role"]),
        Column("SERVICES", lambda t: t["services"] or "all"),
        Column("EXPIRES", lambda t: t["expires_at"] or "never"),
        Column("USED", lambda t: age(t["last_used_at"])),
        Column("AGE", lambda t: age(t["created_at"])),
    ]
    listing(reach.client().tokens(all_projects=everything), columns, reach.as_json, "no tokens; `stoker token create` makes one")


@lists
def rotate(
    reach: Reach, id: Id, overlap: Annotated[str | None, typer.Option(metavar="24h", help="For so long the old one still works.")] = None
) -> None:
    """A new token with the same rights. Its secret is shown once, here."""
    made = reach.client().rotate_token(id, overlap)
    words = [("Token", made["token"]), ("Id", made["id"]), ("Replaces", made.get("replaces", id)), ("Expires", made.get("expires_at"))]
    _tell_notes(made)
    fields(words, made, reach.as_json)


@talks
def rm(reach: Reach, id: Id) -> None:
    """Revoke it; within a second nobody takes it."""
    reach.client().revoke_token(id)
    write(f"token/{id} revoked")


def _tell_notes(made: dict[str, Any]) -> None:
    for note in made.get("notes") or ():
        failure.say(f"note: {note}")


def _limits(words: list[str]) -> dict[str, int]:
    pairs = parse_pairs(words, "--limit")
    for name, value in pairs.items():
        if not value.isdigit():
            raise InvalidRequest(f"--limit {name} takes a whole number, not {value!r}")
    return {name: int(value) for name, value in pairs.items()}
