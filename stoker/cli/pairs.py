"""`NAME=VALUE` words: environment, options, labels, limits, mounts."""

from __future__ import annotations

from collections.abc import Iterable

from stoker.errors import InvalidRequest


def parse_pairs(words: Iterable[str], flag: str) -> dict[str, str]:
    """In the order given; a name given twice is refused. Raises InvalidRequest."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise InvalidRequest(f"{flag} takes NAME=VALUE, not {word!r}")
        if name.strip() in found:
            raise InvalidRequest(f"{flag} {name.strip()} is given twice")
        found[name.strip()] = value
    return found


def parse_env(words: Iterable[str], flag: str) -> dict[str, object]:
    """Values of the form `secret:NAME` are references."""
    pairs = parse_pairs(words, flag)
    return {name: {"secret": value[7:]} if value.startswith("secret:") else value for name, value in pairs.items()}


def parse_options(words: Iterable[str], flag: str) -> dict[str, object]:
    """Values are read as YAML reads them: numbers, true, false, lists; other text stays text."""
    return {name: _value(value) for name, value in parse_pairs(words, flag).items()}


def parse_mounts(words: Iterable[str]) -> list[dict[str, object]]:
    """`SRC:DST[:rw]`; read-only unless it says rw."""
    return [_mount(word) for word in words]


def _mount(word: str) -> dict[str, object]:
    parts = word.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1] or parts[2:] not in ([], ["rw"], ["ro"]):
        raise InvalidRequest(f"--mount takes SOURCE:TARGET or SOURCE:TARGET:rw, not {word!r}")
    return {"source": parts[0], "target": parts[1], "read_only": parts[2:] != ["rw"]}


def _value(text: str) -> object:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, bool | int | float | list | dict) else text
