"""Free-form values, such as a variant's options: any JSON, within bounds."""

from __future__ import annotations

import math
from typing import Any

from stoker.specs.fields import MAX_LIST, at, line, mapped, text

MAX_DEPTH = 32
MAX_DIGITS = 20


def json_object(value: object) -> dict[str, Any]:
    """A mapping of names to JSON values; those that are null are left out, since null means the default."""
    found: dict[str, Any] = mapped(line, json_value)(value)
    return {key: entry for key, entry in found.items() if entry is not None}


def json_value(value: object, depth: int = 0) -> Any:
    """The value itself, if it could be written as JSON: text, number, true, false, null, list or mapping."""
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        return {at(key, line, key): at(key, lambda entry: json_value(entry, depth + 1), entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        if len(value) > 16 * MAX_LIST:
            raise ValueError(f"has more than {16 * MAX_LIST} entries")
        return [at(index, lambda entry: json_value(entry, depth + 1), entry) for index, entry in enumerate(value)]
    return _scalar(value)


def _scalar(value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int) and abs(value) < 10**MAX_DIGITS:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"is no JSON value: text, a number of at most {MAX_DIGITS} digits, true, false, null, a list or a block")
