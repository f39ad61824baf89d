"""Amounts: exact sums, nothing rounded, every refusal with its cure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.resources import (
    MAX_SIZE,
    format_cpu,
    format_gpu,
    format_size,
    parse_cpu,
    parse_duration,
    parse_gpu,
    parse_gpus,
    parse_size,
    write_number,
    write_size,
)

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[("16GiB", 16 * GIB), ("16Gi", 16 * GIB), ("512Mi", 2**29), ("1TiB", 2**40), ("2GB", 2 * 10**9), ("1.5GiB", 3 * 2**29)],
        *[(4096, 4096), ("4096", 4096), ("7 KiB", 7168), ("10B", 10), (0, 0), (" 1MiB ", 2**20), ("1.1GiB", 1181116006)],
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["4g", "4G", "4m", "GiB", "-1", "1e3", "", "4GiBB", "4 4", True, None, [], "９GiB", "9000TiB", 10**30])
def test_doubtful_sizes_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"GiB|size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [(30, 30), ("30s", 30), ("5m", 300), ("2h", 7200), ("3d", 259200), ("250ms", 0.25), (0.5, 0.5), ("300ms", 0.3)]
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["5 minutes", "-5", "1w", "", "1:30", True, None, "400d", float("inf"), float("nan")])
def test_doubtful_durations_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "millis"), [(4, 4000), (0.5, 500), ("0.25", 250), (0.001, 1), (0, 0), (4096, 4_096_000)])
def test_cpus(text: object, millis: int) -> None:
    assert parse_cpu(text) == millis


@pytest.mark.parametrize("text", [-1, 4097, 0.0005, "1_000", "four", "１", True, None, float("nan"), float("inf"), "1e3", ""])
def test_doubtful_cpus_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="cpu"):
        parse_cpu(text)


def test_millicores_are_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"write 0\.5 instead of 500m"):
        parse_cpu("500m")


@pytest.mark.parametrize(("text", "share"), [(1, 100), (2, 200), (0.25, 25), ("0.01", 1), (0, 0), (1.0, 100), (0.29, 29), (0.57, 57)])
def test_gpus(text: object, share: int) -> None:
    assert parse_gpu(text) == share


@pytest.mark.parametrize("text", [1.5, 0.255, 0.001, 0.1 + 0.2, -1, "1/2", 2.01, True, None, float("inf"), 1025])
def test_doubtful_gpus_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="gpu"):
        parse_gpu(text)


def test_an_amount_of_gpus_in_all_may_be_any_hundredth() -> None:
    assert parse_gpus(2.57, 100) == 257
    with pytest.raises(ValueError, match="never rounded"):
        parse_gpus(2.575, 100)


@given(st.integers(0, MAX_SIZE))
def test_a_written_size_is_read_back_exactly(size: int) -> None:
    assert parse_size(write_size(size)) == size


@given(st.integers(0, 4_096_000))
def test_a_written_cpu_is_read_back_exactly(millis: int) -> None:
    assert parse_cpu(write_number(millis / 1000)) == millis == parse_cpu(format_cpu(millis))


@given(st.integers(0, 100) | st.integers(1, 1024).map(lambda whole: whole * 100))
def test_a_written_gpu_is_read_back_exactly(share: int) -> None:
    assert parse_gpu(write_number(share / 100)) == share == parse_gpu(format_gpu(share))


@given(st.decimals(0, 1024, allow_nan=False, allow_infinity=False, places=4))
def test_a_gpu_is_exact_or_refused(number: Decimal) -> None:
    try:
        share = parse_gpu(str(number))
    except ValueError:
        assert number * 100 % 1 or (number > 1 and number % 1)
    else:
        assert Fraction(share, 100) == Fraction(number)


@given(st.lists(st.integers(1, 100), max_size=200))
def test_sums_of_shares_are_exact(shares: list[int]) -> None:
    """A hundred times 0.01 is one device: floats would say 1.0000000000000007."""
    assert sum(parse_gpu(str(Decimal(share) / 100)) for share in shares) == sum(shares)


@given(st.integers(0, 2**50))
def test_a_size_for_reading_is_within_a_tenth_of_its_unit(size: int) -> None:
    assert abs(parse_size(format_size(size)) - size) <= max(size, 1) * 0.051


def _outcome(parse: Callable[[object], float], value: object) -> object:
    try:
        return parse(value)
    except ValueError as error:
        return str(error)


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.binary())
def test_anything_is_an_amount_or_a_sentence(value: object) -> None:
    for parse in (parse_size, parse_duration, parse_cpu, parse_gpu):
        outcome = _outcome(parse, value)
        assert outcome if isinstance(outcome, str) else isinstance(outcome, int | float) and outcome >= 0
