"""`stoker chat NAME`: talk to a service in the terminal, or pipe lines through it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from stoker.cli import failure
from stoker.cli.flags import talks
from stoker.cli.log_lines import clean
from stoker.cli.reach import Reach
from stoker.cli.tree import single
from stoker.client import Client
from stoker.errors import RouterUnreachable, StokerError

TURNS = 40
"""Messages that are sent along; older ones are forgotten."""


def commands(name: str) -> typer.Typer:
    return single(name, chat)


@talks
def chat(reach: Reach, name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]) -> None:
    """Talk to a service. On a terminal Ctrl-D ends it; without one, each line of stdin is a message."""
    client = reach.client()
    client.service(name)
    history: list[dict[str, str]] = []
    for text in _prompts(name) if sys.stdin.isatty() else _lines():
        history.append({"role": "user", "content": text})
        try:
            answer = _answer(client, name, history[-TURNS:])
        except RouterUnreachable:
            raise
        except StokerError as error:
            if not sys.stdin.isatty():
                raise
            failure.say(failure.sentence(error))
            history.pop()
            continue
        history.append({"role": "assistant", "content": answer})


def _answer(client: Client, name: str, messages: list[Any]) -> str:
    """Print the answer as it comes; the whole of it."""
    parts: list[str] = []
    try:
        for chunk in client.chat(name, messages):
            for choice in chunk.get("choices") or ():
                text = (choice.get("delta") or {}).get("content") or ""
                parts.append(text)
                sys.stdout.write("\n".join(clean(line) for line in text.split("\n")))
                sys.stdout.flush()
    finally:
        sys.stdout.write("\n")
        sys.stdout.flush()
    return "".join(parts)


def _prompts(name: str) -> Iterator[str]:
    import readline  # noqa: F401  (gives `input` a history and editing keys)

    print(f"Talking to {name}; Ctrl-D ends it.")  # noqa: T201
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            print()  # noqa: T201
            return
        if text:
            yield text


def _lines() -> Iterator[str]:
    for line in sys.stdin:
        if line.strip():
            yield line.strip()
