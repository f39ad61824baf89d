#!/usr/bin/env python3
"""Write docs/states.md from the table in stoker/states.py. `--check` only says whether it is up to date (exit code 1)."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from stoker.states import COMING, HOLDING, TERMINAL, TRANSITIONS, Owner, Phase, ServiceStatus, SessionStatus
from stoker.status import summarise

TARGET = Path(__file__).resolve().parent.parent / "docs" / "states.md"

HEAD = """\
# States

Written by `scripts/states_doc.py` from `stoker/states.py` and `stoker/status.py`; change those, then run it again.

## A session

Every arrow has one owner, and the store refuses an arrow that is not in this table or whose old status is not the
expected one, so that a late message cannot move a session backwards.
"""

SERVICE = """\
## A service

Nobody stores the status of a service. It is worked out from its record and its sessions whenever somebody asks
(`stoker/status.py`); the first line that fits counts.
"""


def main() -> None:
    """Write the page, or compare it."""
    text = page()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if TARGET.exists() and TARGET.read_text() == text else "docs/states.md is out of date; run scripts/states_doc.py")
    TARGET.write_text(text)


def page() -> str:
    """The whole of docs/states.md."""
    return "\n".join([HEAD, diagram(), arrows(), sets(), SERVICE, service_rules()]).rstrip() + "\n"


def diagram() -> str:
    """The arrows as a Mermaid state diagram, each with its owner."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for (old, new), (owner, _) in TRANSITIONS.items():
        lines.append(f"    {old or '[*]'} --> {new}: {owner}")
    lines += [f"    {status} --> [*]" for status in SessionStatus if status in TERMINAL]
    return "\n".join([*lines, "```", ""])


def arrows() -> str:
    """The arrows as a table; those that differ in nothing but where they begin share a line."""
    joined: dict[tuple[SessionStatus, Owner, str], list[str]] = {}
    for (old, new), (owner, meaning) in TRANSITIONS.items():
        joined.setdefault((new, owner, meaning), []).append(old or "(new)")
    lines = ["| from | to | owner | meaning |", "|---|---|---|---|"]
    lines += [f"| {', '.join(olds)} | {new} | {owner} | {meaning} |" for (new, owner, meaning), olds in joined.items()]
    return "\n".join([*lines, ""])


def sets() -> str:
    """Which statuses hold resources, may still become ready, or are an end."""
    sentences = (
        ("holds its GPU shares, memory and port", HOLDING),
        ("may become READY without another decision", COMING),
        ("has ended", TERMINAL),
    )
    lines = [f"- A session {what} while it is {_listed(members)}." for what, members in sentences]
    return "\n".join([*lines, f"- A starting session also has a phase: {', '.join(Phase)}.", ""])


def service_rules() -> str:
    """The numbered list in the docstring of `summarise`, as a table."""
    rules = re.findall(r"^\s*\d+\. ([A-Z]+): (.+)$", inspect.getdoc(summarise) or "", re.MULTILINE)
    if {status for status, _ in rules} != set(ServiceStatus):
        raise SystemExit("the docstring of stoker.status.summarise does not name every status of a service")
    lines = ["| status | when |", "|---|---|"]
    return "\n".join([*lines, *(f"| {status} | {when} |" for status, when in rules)])


def _listed(members: frozenset[SessionStatus]) -> str:
    *first, last = [status.value for status in SessionStatus if status in members]
    return f"{', '.join(first)} or {last}" if first else last


if __name__ == "__main__":
    main()
