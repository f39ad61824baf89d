"""Listings and single objects for people and for programs: a table on a terminal, aligned text in a pipe, JSON where asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]

SPARE = ("ENDPOINT", "OWNER", "PROJECT")
"""Columns that a narrow terminal does without, the first of them first."""

WHOLE = frozenset({"NAME", "ID", "STATUS"})
NARROWEST = 6


class Column(NamedTuple):
    """A heading and what stands under it."""

    heading: str
    value: Callable[[Row], object]


def listing(items: Sequence[Row], columns: Sequence[Column], as_json: bool, empty: str) -> None:
    """All items. `empty` is the sentence where there are none; it goes to stderr, so that a pipe gets nothing."""
    if as_json:
        write(json.dumps({"items": list(items), "next": None}, indent=2, ensure_ascii=False))
        return
    rows = [[_cell(column.value(item)) for column in columns] for item in items]
    if not rows:
        print(empty, file=sys.stderr)  # noqa: T201
    elif sys.stdout.isatty():
        _rich_table([column.heading for column in columns], rows)
    else:
        _plain_table([[column.heading for column in columns], *rows])


def fields(words: Iterable[tuple[str, object]], source: Row, as_json: bool) -> None:
    """One object: `words` are shown, those with a value; as JSON all of `source`."""
    if as_json:
        write(json.dumps(source, indent=2, ensure_ascii=False))
        return
    shown = [(name, _cell(value)) for name, value in words if value not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        write(f"{name.ljust(width)}  {value}")


def write(text: str) -> None:
    print(text)  # noqa: T201


def reason_of(item: Row) -> str:
    """`code: sentence` of an object's reason, "" without one."""
    reason = item.get("reason")
    return f"{reason['code']}: {reason['message']}" if reason else ""


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value) or "-"
    return str(value)


def _plain_table(rows: list[list[str]]) -> None:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(headings: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    headings, *rows = fitting([headings, *rows], console.width)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell, style=colour(cell)) for cell in row))
    console.print(table)


def fitting(rows: list[list[str]], width: int) -> list[list[str]]:
    """The same rows, the first of them headings, so that each takes one line of `width` columns.

    1. Columns that -o json shows as well are left out, in the order of SPARE.
    2. The widest is cropped, again and again, but never what names a row or says its state.
    """
    for heading in SPARE:  # (1)
        if _needs(rows) > width and heading in rows[0]:
            index = rows[0].index(heading)
            rows = [row[:index] + row[index + 1 :] for row in rows]
    while _needs(rows) > width:  # (2)
        widths = [max(map(len, column)) if column[0] not in WHOLE else 0 for column in zip(*rows, strict=True)]
        widest = max(widths)
        if widest <= NARROWEST:
            break
        index = widths.index(widest)
        rows = [[_cropped(cell, widest - 1) if at == index else cell for at, cell in enumerate(row)] for row in rows]
    return rows


def _needs(rows: list[list[str]]) -> int:
    columns = list(zip(*rows, strict=True))
    return sum(max(map(len, column)) for column in columns) + 2 * len(columns)


def _cropped(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def colour(word: str) -> str:
    """The style of a status word; "" for anything else."""
    good = {"HEALTHY", "READY", "ready", "healthy"}
    bad = {"UNHEALTHY", "FAILED", "LOST", "lost", "silent", "unhealthy"}
    busy = {"PROVISIONING", "DEGRADED", "PENDING", "PLACED", "STARTING", "DRAINING", "STOPPING", "draining", "cordoned"}
    return "green" if word in good else "red" if word in bad else "yellow" if word in busy else ""
