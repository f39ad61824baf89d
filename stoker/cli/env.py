"""`stoker env [NAME]`: two lines for a shell that make OpenAI clients talk to this platform."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from stoker.cli.flags import talks
from stoker.cli.reach import Reach, read_secret
from stoker.cli.reached_endpoint import reached_endpoint
from stoker.cli.tables import write
from stoker.cli.tree import single
from stoker.errors import Unauthenticated


def commands(name: str) -> typer.Typer:
    return single(name, env)


@talks
def env(reach: Reach, name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None) -> None:
    """Print exports of OPENAI_BASE_URL and OPENAI_API_KEY; use it as eval "$(stoker env)"."""
    base = f"{reach.url}/v1"
    if name is not None:
        base = f"{reached_endpoint(reach, reach.client().service(name))}/v1"
    write(f"export OPENAI_BASE_URL={shlex.quote(base)}")
    write(f"export OPENAI_API_KEY={shlex.quote(user_token(reach))}")


def user_token(reach: Reach) -> str:
    """For inference: the local platform's user token, elsewhere the token that was given. Raises Unauthenticated."""
    file = reach.user_token_file
    token = read_secret(file) if file is not None else reach.token
    if token is None:
        raise Unauthenticated(
            "no user token is known for this router; give one with --token or STOKER_TOKEN (`stoker token create` makes one)"
        )
    return token
