"""Log lines as they come from the router: `SESSION TIME TEXT`."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def show_logs(lines: Iterable[str]) -> bool:
    """Print each as it comes; whether there was any. Control characters of an engine do not reach the terminal."""
    any_line = False
    for line in lines:
        any_line = True
        sys.stdout.write(clean(line) + "\n")
        sys.stdout.flush()
    return any_line


def clean(line: str) -> str:
    """Without what would move the cursor, clear the screen or change the window's title."""
    return "".join(sign if sign.isprintable() or sign == "\t" else "" if sign == "\r" else "�" for sign in line)
