"""From an error to an exit code and one plain sentence on stderr."""

from __future__ import annotations

import sys

from stoker.errors import InvalidRequest, NotAllowed, NotFound, RouterUnreachable, StokerError, Unauthenticated

FAILED, USAGE, MISSING, REFUSED, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 5, 130

_CODES: tuple[tuple[type[StokerError], int, str], ...] = (
    (Unauthenticated, REFUSED, "give a valid token with --token or STOKER_TOKEN"),
    (NotAllowed, REFUSED, "use a token with the rights for it, with --token or STOKER_TOKEN"),
    (NotFound, MISSING, ""),
    (InvalidRequest, USAGE, ""),
    (RouterUnreachable, UNREACHABLE, "start the platform with `stoker up -d`, or name its router with --url or STOKER_URL"),
)
"""The first class that fits: its exit code, and what to do next where the message does not say it."""


class Quit(Exception):
    """The command has said everything already; only the exit code is left."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def exit_code(error: StokerError) -> int:
    return next((code for kind, code, _ in _CODES if isinstance(error, kind)), FAILED)


def sentence(error: StokerError) -> str:
    """What is wrong and, unless the message says so itself, what to do next."""
    advice = next((words for kind, _, words in _CODES if isinstance(error, kind)), "")
    message = " ".join(error.message.split())
    said = not advice or "`" in message or "--" in message or "STOKER_" in message
    return message if said else f"{message.rstrip('.')}; {advice}"


def say(text: str) -> None:
    """One line on stderr."""
    print(f"stoker: {text}", file=sys.stderr, flush=True)  # noqa: T201
