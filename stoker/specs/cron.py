"""Cron lines and time zones: their form. `MINUTE HOUR DAY MONTH WEEKDAY`, each *, a number, a name, a range, a step or a list."""

from __future__ import annotations

import zoneinfo

from stoker.specs.fields import line

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)


def cron(value: object) -> str:
    """A cron line of five fields, in lower case with single spaces."""
    words = line(value).lower().split()
    if len(words) != len(_FIELDS):
        raise ValueError('must be a cron line of five fields, as in "0 8 * * mon-fri"')
    for word, (what, least, most, names) in zip(words, _FIELDS, strict=True):
        if not all(_fits(item, least, most, names) for item in word.split(",")):
            raise ValueError(f"has a wrong {what}; write *, {least} to {most}, a range such as {least}-{most}, or a step such as */2")
    return " ".join(words)


def _fits(item: str, least: int, most: int, names: tuple[str, ...]) -> bool:
    span, slash, step = item.partition("/")
    if slash and not (step.isascii() and step.isdigit() and len(step) < 4 and int(step) > 0):
        return False
    if span == "*":
        return True
    first, dash, last = span.partition("-")
    start = _value(first, least, most, names)
    end = _value(last, least, most, names) if dash else start
    return start is not None and end is not None and start <= end


def _value(word: str, least: int, most: int, names: tuple[str, ...]) -> int | None:
    if word in names:
        return names.index(word) + least
    if not (word.isascii() and word.isdigit() and len(word) < 4):
        return None
    return int(word) if least <= int(word) <= most else None


def time_zone(value: object) -> str:
    """An IANA name such as Asia/Seoul. Where this machine has no time zone data at all, only its form is checked."""
    found = line(value)
    if not _known(found) and _known("UTC"):
        raise ValueError("is no time zone; write one such as Asia/Seoul or UTC")
    return found


def _known(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
