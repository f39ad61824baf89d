"""Listings on terminals of any width: one line per row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stoker.cli.tables import NARROWEST, WHOLE, fitting

HEADINGS = ["NAME", "STATUS", "READY", "MODEL", "VARIANT", "ENDPOINT", "PROJECT", "OWNER", "AGE"]
ROW = ["a-service", "HEALTHY", "1/1", "demo", "demo", "http://127.0.0.1:8080/services/a-service", "default", "admin", "3m"]


def width(rows: list[list[str]]) -> int:
    return sum(max(len(row[index]) for row in rows) + 2 for index in range(len(rows[0])))


def test_80_columns_have_no_endpoint_and_200_have_everything() -> None:
    assert fitting([HEADINGS, ROW], 200) == [HEADINGS, ROW]
    narrow = fitting([HEADINGS, ROW], 80)
    assert "ENDPOINT" not in narrow[0] and "OWNER" in narrow[0] and width(narrow) <= 80


def test_what_is_still_too_wide_is_cropped_where_it_names_nothing() -> None:
    rows = fitting([["ID", "REASON"], ["demo-abcdefgh", "no_fit: " + "x" * 200]], 40)
    assert rows[1][0] == "demo-abcdefgh" and rows[1][1].startswith("no_fit: x") and rows[1][1].endswith("…") and width(rows) == 40


@given(st.lists(st.text("ab", max_size=60), min_size=9, max_size=9), st.integers(20, 200))
def test_rows_fit_unless_nothing_more_can_be_cropped(cells: list[str], columns: int) -> None:
    rows = fitting([HEADINGS, cells], columns)
    rest = [max(len(row[index]) for row in rows) for index, heading in enumerate(rows[0]) if heading not in WHOLE]
    assert width(rows) <= columns or max(rest) <= max(NARROWEST, 7)
    assert rows[1][:2] == cells[:2]
