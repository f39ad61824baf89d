"""`N` or `MIN..MAX`, as replicas are typed."""

from __future__ import annotations

import re

from stoker.errors import InvalidRequest


def parse_replicas(text: str) -> int | dict[str, int]:
    """3 is 3, `0..2` is {"min": 0, "max": 2}. Raises InvalidRequest."""
    match = re.fullmatch(r"(\d{1,6})(?:\.\.(\d{1,6}))?", text.strip())
    if match is None:
        raise InvalidRequest(f"replicas are a number or MIN..MAX such as 0..2, not {text!r}")
    if match[2] is None:
        return int(match[1])
    if int(match[1]) > int(match[2]):
        raise InvalidRequest(f"replicas: the lower number comes first, as in {match[2]}..{match[1]}")
    return {"min": int(match[1]), "max": int(match[2])}


def show_replicas(service: dict[str, object]) -> str:
    """`ready/wanted` of a service."""
    replicas = service["replicas"]
    assert isinstance(replicas, dict)
    return f"{replicas['ready']}/{replicas['wanted']}"
