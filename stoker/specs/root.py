"""A whole document: read from JSON values with complaints a user can act on, written back in one canonical spelling."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ValidationError

from stoker.specs.complaints import Lines, complaint, from_validation
from stoker.specs.fields import Part

MAX_DEPTH = 32
MAX_NODES = 20_000


class Root(Part):
    """What all kinds of documents can do."""

    @classmethod
    def from_json(cls, data: object, lines: Lines | None = None) -> Self:
        """The spec of plain JSON values. Raises InvalidSpec, with a line where `lines` (path to line) knows it."""
        lines = lines or {}
        if not isinstance(data, dict):
            raise complaint((), "is a mapping of fields such as name and model", lines)
        excess = _excess(data)
        if excess:
            raise complaint((), excess, lines)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise from_validation(error, cls, lines) from None

    def to_json(self) -> dict[str, Any]:
        """What was given, and only that, so that two spellings of the same spec are equal. `from_json` reads it back."""
        given = self.model_dump(mode="json", exclude_unset=True)
        return {field: value for field, value in given.items() if value not in ({}, [])}


def _excess(data: object) -> str | None:
    """Why these values are refused before they are looked at: too deep, or too many. Not recursive, as the input may be."""
    level, nodes = [data], 0
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return None
        nodes += len(level)
        if nodes > MAX_NODES:
            return f"has more than {MAX_NODES} values"
        level = [child for value in level for child in _children(value)]
    return f"is nested deeper than {MAX_DEPTH} levels" if level else None


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []
