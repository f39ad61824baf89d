"""Replacing and scaling, as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.rollout import Fleet, turnover, victims
from stoker.records import SessionRecord
from stoker.states import SessionStatus as S
from tests.support.drawn import NOW, session


def many(status: S, count: int, start: int = 0, revision: int = 2) -> tuple[SessionRecord, ...]:
    return tuple(
        session(f"s-{status.lower()}{start + i}r{revision}", status, on="n1", revision=revision, created_at=NOW + start + i)
        for i in range(count)
    )


@pytest.mark.parametrize(
    ("current", "outgoing", "wanted", "surge", "unavailable", "blocked", "expected"),
    [
        ((), (), 2, 1, 0, False, (2, 0, 0)),
        ((), (), 2, 1, 0, True, (0, 0, 0)),
        (many(S.READY, 2), (), 2, 1, 0, False, (0, 0, 0)),
        (many(S.READY, 3), (), 2, 1, 0, False, (0, 1, 0)),
        (many(S.READY, 3), (), 0, 1, 0, True, (0, 3, 0)),
        ((), many(S.READY, 2, 0, 1), 2, 1, 0, False, (1, 0, 0)),
        (many(S.STARTING, 1), many(S.READY, 2, 0, 1), 2, 1, 0, False, (0, 0, 0)),
        (many(S.READY, 1), many(S.READY, 2, 0, 1), 2, 1, 0, False, (1, 0, 1)),
        (many(S.READY, 2), many(S.READY, 1, 0, 1), 2, 1, 0, False, (0, 0, 1)),
        ((), many(S.READY, 2, 0, 1), 2, 0, 1, False, (1, 0, 1)),
        ((), many(S.READY, 2, 0, 1), 2, 2, 0, False, (2, 0, 0)),
        ((), many(S.STARTING, 2, 0, 1), 2, 1, 0, False, (2, 0, 2)),
        ((), many(S.STARTING, 2, 0, 1), 2, 1, 0, True, (0, 0, 0)),
        ((), many(S.READY, 2, 0, 1), 2, 1, 1, True, (0, 0, 0)),
        ((), many(S.READY, 2, 0, 1), 0, 1, 0, True, (0, 0, 2)),
    ],
)
def test_turnover(
    current: tuple[SessionRecord, ...], outgoing: tuple[SessionRecord, ...], wanted: int, surge: int, unavailable: int, blocked: bool,
    expected: tuple[int, int, int],
) -> None:  # fmt: skip
    change = turnover(Fleet(current=current, outgoing=outgoing), wanted, surge=surge, unavailable=unavailable, blocked=blocked)
    assert (change.create, len(change.surplus), len(change.gone)) == expected


def test_victims_are_the_least_useful_first() -> None:
    pending, starting, ready = many(S.PENDING, 1), many(S.STARTING, 2, 5), many(S.READY, 3, 10)
    fleet = Fleet(current=(*ready, *starting, *pending), unhealthy=frozenset({ready[0].id}))
    order = [pending[0], starting[1], starting[0], ready[0], ready[2], ready[1]]
    assert [s.id for s in victims(fleet, 6)] == [s.id for s in order]
    assert victims(fleet, 0) == victims(fleet, -3) == []


statuses = st.sampled_from([S.PENDING, S.PLACED, S.STARTING, S.READY])


@given(
    st.lists(statuses, max_size=6), st.lists(statuses.filter(lambda s: s is not S.PENDING), max_size=6), st.integers(0, 6),
    st.integers(0, 2), st.integers(0, 2), st.booleans(),
)  # fmt: skip
def test_enough_serve_and_never_too_many(new: list[S], old: list[S], wanted: int, surge: int, unavailable: int, blocked: bool) -> None:
    fleet = Fleet(
        current=tuple(session(f"s-n{i}", status, on="n1") for i, status in enumerate(new)),
        outgoing=tuple(session(f"s-o{i}", status, on="n1") for i, status in enumerate(old)),
    )
    change = turnover(fleet, wanted, surge=surge, unavailable=unavailable, blocked=blocked)
    left = [s for s in (*fleet.current, *fleet.outgoing) if s not in change.surplus and s not in change.gone]
    before = sum(map(fleet.serves, (*fleet.current, *fleet.outgoing)))
    assert sum(map(fleet.serves, left)) >= min(before, wanted - unavailable), "what serves is not taken away too early"
    assert len(fleet.current) - len(change.surplus) + change.create <= wanted
    if change.create:
        assert len(left) + change.create <= wanted + surge
