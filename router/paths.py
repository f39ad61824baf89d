"""Which paths of an engine are its operator's: a variant's own list, changed by `routing.allow_paths` and `deny_paths`.

A rule is a path as the engine knows it (`/metrics`), with what lies below it; `*` stands for anything. A method may stand in
front (`POST /sleep`). Paths are compared in their plainest form, so that no spelling slips by.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

_DOTS = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")
_SLASHES = re.compile(r"[/\\]+")
_REMEMBERED = 1_000
_UNQUOTINGS = 4


def plain(path: str) -> str:
    """The path decoded until nothing is left to decode, with single slashes, lower case, without the last slash."""
    for _ in range(_UNQUOTINGS):
        if "%" not in path:
            break
        path = unquote(path)
    path = _SLASHES.sub("/", path.partition(";")[0]).lower()
    return path.rstrip("/") or "/"


def climbs(path: str) -> bool:
    """Whether a segment is `.` or `..`, however it is written: an engine might resolve what we do not."""
    return ("." in path and bool(_DOTS.search(_SLASHES.sub("/", path)))) or ("%" in path and bool(_DOTS.search(plain(path) + "/")))


class PathRules:
    """`refuses` answers from memory for paths seen before; at most a thousand are remembered."""

    def __init__(self, refused: Iterable[str], allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self._refused = _compile((*refused, *deny))
        self._allowed = _compile(allow)
        self._denied = _compile(deny)
        self._seen: dict[tuple[str, str], bool] = {}

    def refuses(self, method: str, path: str) -> bool:
        """Whether this is for admins and deployers only. A denied path stays denied when it is allowed too."""
        key = (method, path)
        known = self._seen.get(key)
        if known is None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            known = self._seen[key] = self._decide(f"{method.upper()} {plain(path)}")
        return known

    def _decide(self, line: str) -> bool:
        if self._denied is not None and self._denied.match(line):
            return True
        if self._refused is None or not self._refused.match(line):
            return False
        return self._allowed is None or not self._allowed.match(line)


def _compile(rules: Iterable[str]) -> re.Pattern[str] | None:
    patterns = [_pattern(rule) for rule in rules]
    return re.compile("|".join(patterns)) if patterns else None


def _pattern(rule: str) -> str:
    method, space, path = rule.partition(" ")
    if not space:
        method, path = "", rule
    words = (re.escape(part) for part in plain(path).split("*"))
    return f"(?:{re.escape(method.upper()) or '[A-Z-]+'} {'.*'.join(words)}(?:/.*)?$)"
