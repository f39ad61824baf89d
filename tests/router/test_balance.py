"""Balancing is a pure choice: what it may pick, and how evenly it spreads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.balance import least_outstanding, policies, power_of_two, round_robin, weighted


@dataclass(eq=False)
class Place:
    in_flight: int
    weight: int


_routes = st.lists(st.builds(Place, st.integers(0, 1000), st.integers(1, 100)), min_size=1, max_size=8)
_draws = st.integers(0, 2**64 - 1)


@given(_routes, st.integers(0, 10**9), _draws, st.sampled_from(sorted(policies())))
def test_every_policy_picks_one_of_them(routes: list[Place], turn: int, draw: int, name: str) -> None:
    assert any(policies()[name](routes, turn, draw) is route for route in routes)


@given(_routes, st.integers(0, 10**9))
def test_none_is_less_loaded_for_its_weight_than_the_least_outstanding(routes: list[Place], turn: int) -> None:
    best = least_outstanding(routes, turn, 0)
    assert all((best.in_flight + 1) * route.weight <= (route.in_flight + 1) * best.weight for route in routes)


@pytest.mark.parametrize("policy", [least_outstanding, round_robin])
def test_idle_equals_take_turns(policy: object) -> None:
    routes = [Place(0, 100) for _ in range(4)]
    picked = Counter(id(policy(routes, turn, 0)) for turn in range(400))  # type: ignore[operator]
    assert set(picked.values()) == {100}


def test_weights_are_proportions() -> None:
    light, heavy = Place(0, 10), Place(0, 90)
    picked = Counter(weighted([light, heavy], 0, draw).weight for draw in range(1000))
    assert picked == {10: 100, 90: 900}


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6), _draws)
def test_of_two_the_less_loaded_and_never_the_most_loaded_alone(loads: list[int], draw: int) -> None:
    routes = [Place(load, 100) for load in loads]
    picked = power_of_two(routes, 0, draw)
    assert picked.in_flight < max(loads) or loads.count(max(loads)) > 1
