"""Amounts as integers, so that sums are exact: CPU in millicores, memory in bytes, GPUs in hundredths of one device.

The parsers take what YAML gives (numbers or text) and raise ValueError with the cure in the sentence.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

WHOLE_GPU = 100
"""Shares of one whole device."""

_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
_DECIMAL = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$")
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$")
_SECONDS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MAX_SIZE = 2**53
MAX_DURATION = 366 * 86400.0


def parse_size(value: object) -> int:
    """Bytes of `16GiB`, `512Mi`, `2GB` (10^9) or a plain number of bytes."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a size is a number of bytes or text such as 16GiB")
    match = _SIZE.match(str(value).strip())
    if not match:
        raise ValueError(f"{str(value)[:40]!r} is no size; write it as 16GiB, 512MiB or a number of bytes")
    number, unit = Decimal(match[1]), match[2]
    stem = unit.removesuffix("B") if unit.endswith("iB") else unit
    if stem in _BINARY:
        factor = 1 << _BINARY[stem]
    elif unit in _DECIMAL:
        factor = _DECIMAL[unit]
    elif unit in ("", "B"):
        factor = 1
    else:
        raise ValueError(f"{unit!r} is ambiguous or no unit; write GiB (2^30) or GB (10^9)")
    size = number * factor
    if size > MAX_SIZE:
        raise ValueError("the size is beyond 8 PiB")
    return int(size)


def parse_duration(value: object) -> float:
    """Seconds of `30s`, `5m`, `2h`, `3d`, `250ms` or a plain number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a duration is a number of seconds or text such as 5m")
    match = _DURATION.match(str(value).strip())
    if not match:
        raise ValueError(f"{str(value)[:40]!r} is no duration; write seconds, or 30s, 5m, 2h, 3d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > MAX_DURATION:
        raise ValueError("a duration beyond a year is refused")
    return seconds


def parse_cpu(value: object) -> int:
    """Millicores of a number of cores such as 4 or 0.5; `500m` is refused with the cure."""
    if isinstance(value, str) and re.fullmatch(r"\d+m", value.strip()):
        raise ValueError(f"write {int(value.strip()[:-1]) / 1000:g} instead of {value.strip()}: cpu is a number of cores")
    number = _decimal(value, "cpu is a number of cores such as 4 or 0.5")
    if number < 0 or number > 4096:
        raise ValueError("cpu is between 0 and 4096 cores")
    millis = number * 1000
    if millis != millis.to_integral_value():
        raise ValueError("cpu has at most three decimals")
    return int(millis)


def parse_gpu(value: object) -> int:
    """Hundredths of a GPU: 0.25 is 25, 2 is 200. Multiples of 0.01, never rounded; above 1 whole numbers only."""
    number = _decimal(value, "gpu is a number such as 1, 2 or 0.25")
    share = number * WHOLE_GPU
    if number < 0 or number > 1024:
        raise ValueError("gpu is between 0 and 1024")
    if share != share.to_integral_value():
        raise ValueError(f"gpu is a multiple of 0.01; {number} is not, and it is never rounded")
    if number > 1 and number != number.to_integral_value():
        raise ValueError("above 1, gpu is a whole number: a share cannot span devices")
    return int(share)


def _decimal(value: object, sentence: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(sentence)
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(sentence) from None
    if not number.is_finite():
        raise ValueError(sentence)
    return number


def format_size(size: int) -> str:
    """The shortest exact binary form: 17179869184 is `16GiB`; other numbers stay bytes or get one decimal for reading."""
    for stem, shift in reversed(_BINARY.items()):
        if size >= 1 << shift:
            whole, rest = divmod(size, 1 << shift)
            return f"{whole}{stem}B" if rest == 0 else f"{size / (1 << shift):.1f}{stem}B"
    return f"{size}B"


def format_gpu(share: int) -> str:
    """`1`, `0.25`, `2`: the number a user would write."""
    return f"{share / WHOLE_GPU:g}"


def format_cpu(millis: int) -> str:
    """`4`, `0.5`: the number of cores a user would write."""
    return f"{millis / 1000:g}"


def write_size(size: int) -> str | int:
    """What `parse_size` reads back exactly: `16GiB`, `24GB`, else the number of bytes."""
    for stem, shift in reversed(_BINARY.items()):
        if size and size % (1 << shift) == 0:
            return f"{size >> shift}{stem}B"
    for unit, factor in reversed(_DECIMAL.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return size


def write_number(value: float) -> int | float:
    """A whole number without its decimal point, so that 300.0 is written 300."""
    return int(value) if value == int(value) else value
