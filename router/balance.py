"""Which of several routes gets the next request: pure functions, one per policy of `routing.policy`.

Every policy gets the routes that may be chosen (ready, healthy, below their limit), at least one, and two numbers that make
it deterministic: `turn`, a counter of the service, and `draw`, a random integer of 64 bits or more. Weight 0 is for the caller to
leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """A route as balancing sees it: requests in flight on it, and its weight 1..100."""

    @property
    def in_flight(self) -> int: ...
    @property
    def weight(self) -> int: ...


RouteT = TypeVar("RouteT", bound=Candidate)


def least_outstanding(routes: Sequence[RouteT], turn: int, draw: int) -> RouteT:
    """The fewest requests in flight per weight; among equals in turn, so that an idle service spreads evenly."""
    count = len(routes)
    best = routes[turn % count]
    load, weight = best.in_flight + 1, best.weight
    for step in range(1, count):
        route = routes[(turn + step) % count]
        if (route.in_flight + 1) * weight < load * route.weight:
            best, load, weight = route, route.in_flight + 1, route.weight
    return best


def round_robin(routes: Sequence[RouteT], turn: int, draw: int) -> RouteT:
    """In turn, whatever their load and weight."""
    return routes[turn % len(routes)]


def weighted(routes: Sequence[RouteT], turn: int, draw: int) -> RouteT:
    """By chance in proportion to the weights."""
    point = draw % sum(route.weight for route in routes)
    for route in routes:
        point -= route.weight
        if point < 0:
            return route
    return routes[-1]


def power_of_two(routes: Sequence[RouteT], turn: int, draw: int) -> RouteT:
    """The less loaded of two drawn by chance (Mitzenmacher 2001): as good as the least loaded when what is known is old."""
    count = len(routes)
    if count == 1:
        return routes[0]
    first, rest = draw % count, draw // count
    second = (first + 1 + rest % (count - 1)) % count
    return least_outstanding((routes[first], routes[second]), 0, 0)


def policies() -> Mapping[str, Callable[[Sequence[RouteT], int, int], RouteT]]:
    """The policies by their name in YAML."""
    return {"least_outstanding": least_outstanding, "round_robin": round_robin, "weighted": weighted, "power_of_two": power_of_two}
