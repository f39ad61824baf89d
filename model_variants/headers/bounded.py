"""Reading a file that nobody vouches for: never more than a limit, and a clear word when it is not what it claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class UnreadableModel(OSError):
    """The files contradict themselves or are beyond the limits; the message names the file and says what is wrong."""


def read_at_most(path: Path, limit: int) -> bytes:
    """All bytes of `path`. Raises UnreadableModel above `limit`, OSError where it cannot be read."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UnreadableModel(f"{path.name} is larger than {limit} bytes, which no such file is")
    return data


def read_json(path: Path, limit: int) -> dict[str, Any]:
    """A JSON object of at most `limit` bytes. The standard parser: Hugging Face configs contain NaN and Infinity."""
    data = read_at_most(path, limit)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableModel(f"{path.name} is no valid JSON: {str(error)[:120]}") from None
    if not isinstance(value, dict):
        raise UnreadableModel(f"{path.name} holds no JSON object")
    return value


def positive(value: object) -> int | None:
    """`value` if it is a whole number that a model can have, else None."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53:
        return value
    return None
