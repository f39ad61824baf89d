"""Amounts as integers, so that sums are exact: CPU in millicores, memory in bytes, GPUs in hundredths of one device.

The parsers take what YAML gives (numbers or text) and raise ValueError with the cure in the sentence.
"""

from __future__ import annotations

import re
from decimal import Decimal

WHOLE_GPU = 100
"""Shares of one whole device."""

_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
_DECIMAL = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SIZE = re.compile(rf"({_NUMBER.pattern})\s*([A-Za-z]*)")
_DURATION = re.compile(rf"({_NUMBER.pattern})\s*(ms|s|m|h|d)?")
_SECONDS = {None: Decimal(1), "ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
MAX_SIZE = 2**53
MAX_CPU = 4096
MAX_GPU = 1024
MAX_DURATION = 366 * 86400.0


def parse_size(value: object) -> int:
    """Bytes of `16GiB`, `512Mi`, `2GB` (10^9) or a plain number of bytes; `1.1GiB` is the whole bytes in it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a size is a number of bytes or text such as 16GiB")
    match = _SIZE.fullmatch(str(value).strip())
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
    match = _DURATION.fullmatch(str(value).strip())
    if not match:
        raise ValueError(f"{str(value)[:40]!r} is no duration; write seconds, or 30s, 5m, 2h, 3d")
    seconds = float(Decimal(match[1]) * _SECONDS[match[2]])
    if seconds > MAX_DURATION:
        raise ValueError("a duration beyond a year is refused")
    return seconds


def parse_cpu(value: object, most: int = MAX_CPU) -> int:
    """Millicores of a number of cores such as 4 or 0.5; `500m` is refused with the cure. `most` cores at most."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}m", value.strip()):
        raise ValueError(f"write {int(value.strip()[:-1]) / 1000:g} instead of {value.strip()}: cpu is a number of cores")
    number = _decimal(value, "cpu is a number of cores such as 4 or 0.5")
    if number < 0 or number > most:
        raise ValueError(f"cpu is between 0 and {most} cores")
    millis = number * 1000
    if millis != millis.to_integral_value():
        raise ValueError("cpu has at most three decimals")
    return int(millis)


def parse_gpu(value: object) -> int:
    """Hundredths of a GPU: 0.25 is 25, 2 is 200. Multiples of 0.01, never rounded; above 1 whole numbers only."""
    share = parse_gpus(value, MAX_GPU)
    if share > WHOLE_GPU and share % WHOLE_GPU:
        raise ValueError("above 1, gpu is a whole number: a share cannot span devices")
    return share


def parse_gpus(value: object, most: int) -> int:
    """Hundredths of an amount of GPUs in all, such as a quota: 2.5 is 250. Multiples of 0.01, never rounded."""
    number = _decimal(value, "gpu is a number such as 1, 2 or 0.25")
    if number < 0 or number > most:
        raise ValueError(f"gpu is between 0 and {most}")
    share = number * WHOLE_GPU
    if share != share.to_integral_value():
        raise ValueError(f"gpu is a multiple of 0.01; {str(value)[:40]} is not, and it is never rounded")
    return int(share)


def _decimal(value: object, sentence: str) -> Decimal:
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise ValueError(sentence)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(sentence)
    number = Decimal(str(value).strip())
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
    return str(write_number(share / WHOLE_GPU))


def format_cpu(millis: int) -> str:
    """`4`, `0.5`: the number of cores a user would write."""
    return str(write_number(millis / 1000))


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
