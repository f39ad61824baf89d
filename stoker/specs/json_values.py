"""Free-form values, such as a variant's options: any JSON, within bounds."""

from __future__ import annotations

from typing import Any

from stoker.specs.fields import at, line, mapped, text


def json_object(value: object) -> dict[str, Any]:
    """A mapping of names to JSON values; those that are null are left out, since null means the default."""
    found: dict[str, Any] = mapped(line, json_value)(value)
    return {key: entry for key, entry in found.items() if entry is not None}


def json_value(value: object) -> Any:
    """The value itself, if it could be written as JSON. Depth, number and digits were bounded before (root.py)."""
    if isinstance(value, dict):
        return {at(key, line, key): at(key, json_value, entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [at(index, json_value, entry) for index, entry in enumerate(value)]
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError("must be text, a number, true, false, null, a list or a block")
