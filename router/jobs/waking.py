"""When jobs wake a sleeping service: `autoscaling.jobs_wake`. Pure; the runner tells the store."""

from __future__ import annotations

import datetime
from typing import Any

from stoker.records import ServiceRecord
from stoker.status import is_stopped, least

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LAST = (59, 23, 31, 12, 7)


def wakes(service: ServiceRecord, waiting: int, now: float) -> bool:
    """Whether `waiting` jobs should wake it at `now`, in seconds since the epoch:

    1. One that does not sleep, or that nothing wakes (replicas 0): no.
    2. `now`, or nothing said: any job does. {waiting: N}: N of them. {cron: LINE}: any in a minute that the line names, in UTC.
    """
    if service.wanted > 0 or least(service) > 0 or is_stopped(service) or service.deleted_at is not None:  # (1)
        return False
    rule: Any = service.spec.get("autoscaling", {}).get("jobs_wake", "now")  # (2)
    if not isinstance(rule, dict):
        return waiting > 0
    if rule.get("waiting"):
        return waiting >= int(rule["waiting"])
    return waiting > 0 and names(str(rule.get("cron", "* * * * *")), now)


def names(line: str, now: float) -> bool:
    """Whether a cron line names this minute. Where both day and weekday are given, either will do, as cron has it."""
    at = datetime.datetime.fromtimestamp(now, datetime.UTC)
    values = (at.minute, at.hour, at.day, at.month, at.isoweekday() % 7)
    words = line.split()
    fits = [any(_fits(item, values[field], field) for item in word.split(",")) for field, word in enumerate(words)]
    day = fits[2] or fits[4] if words[2] != "*" and words[4] != "*" else fits[2] and fits[4]
    return fits[0] and fits[1] and fits[3] and day


def _fits(item: str, value: int, field: int) -> bool:
    span, _, step = item.partition("/")
    if span == "*":
        first, last = (1 if field in (2, 3) else 0), _LAST[field]
    else:
        low, dash, high = span.partition("-")
        first = _number(low, field)
        last = _number(high, field) if dash else first
    every = int(step or 1)
    values = (0, 7) if field == 4 and value == 0 else (value,)  # Sunday is both
    return any(first <= number <= last and (number - first) % every == 0 for number in values)


def _number(word: str, field: int) -> int:
    if word.isdigit():
        return int(word)
    return _MONTHS.index(word) + 1 if field == 3 else _DAYS.index(word)
