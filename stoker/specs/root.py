"""A whole document: read from JSON values with complaints a user can act on, written back in one canonical spelling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Self

from pydantic import ValidationError

from stoker.specs.complaints import Lines, Steps, complaint, from_validation
from stoker.specs.fields import Part

MAX_DEPTH = 32
MAX_NODES = 20_000
MAX_DIGITS = 20


class Root(Part):
    """What all kinds of documents can do."""

    @classmethod
    def from_json(cls, data: object, lines: Lines | None = None) -> Self:
        """The spec of plain JSON values. Raises InvalidSpec, with a line where `lines` (path to line) knows it."""
        lines = lines or {}
        if not isinstance(data, dict):
            raise complaint((), "must be a mapping of fields such as name and model", lines)
        _refuse_excess(data, lines)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise from_validation(error, cls, lines) from None

    def to_json(self) -> dict[str, Any]:
        """What was given, and only that, so that two spellings of the same spec are equal. `from_json` reads it back."""
        given = self.model_dump(mode="json", exclude_unset=True)
        return {field: value for field, value in given.items() if value not in ({}, [])}


def _refuse_excess(data: object, lines: Lines) -> None:
    """Refuse what is too deep, too much or too long to look at any further. Not recursive, as the input may be."""
    level: list[tuple[Steps, object]] = [((), data)]
    nodes = 0
    for _ in range(MAX_DEPTH + 1):
        nodes += len(level)
        if nodes > MAX_NODES:
            raise complaint((), f"has more than {MAX_NODES} values", lines)
        for steps, value in level:
            if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
                raise complaint(steps, f"is a number of more than {MAX_DIGITS} digits", lines)
            if isinstance(value, float) and not math.isfinite(value):
                raise complaint(steps, "must be a finite number", lines)
        level = [child for steps, value in level for child in _children(steps, value)]
    if level:
        raise complaint((), f"is nested deeper than {MAX_DEPTH} levels", lines)


def _children(steps: Steps, value: object) -> Iterator[tuple[Steps, object]]:
    if isinstance(value, dict):
        yield from (((*steps, str(key)[:100]), child) for key, child in value.items())
    if isinstance(value, list | tuple):
        yield from (((*steps, index), child) for index, child in enumerate(value))
