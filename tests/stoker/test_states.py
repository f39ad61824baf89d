"""The table of arrows, and the page that is written from it."""

from __future__ import annotations

import runpy
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stoker.states import COMING, HOLDING, TERMINAL, TRANSITIONS, Owner, SessionStatus, owner_of, sources

ROOT = Path(__file__).resolve().parents[2]
S = SessionStatus
statuses = st.sampled_from(S)


def _reachable(start: SessionStatus) -> set[SessionStatus]:
    seen, front = {start}, {start}
    while front:
        front = {new for old, new in TRANSITIONS if old in front} - seen
        seen |= front
    return seen


def test_the_page_is_written_from_the_table() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "states_doc.py"))["page"]()
    assert (ROOT / "docs" / "states.md").read_text() == page, "run scripts/states_doc.py"


def test_nothing_leaves_an_end() -> None:
    assert not [arrow for arrow in TRANSITIONS if arrow[0] in TERMINAL]


def test_everything_begins_as_pending_and_can_end() -> None:
    assert [new for old, new in TRANSITIONS if old is None] == [S.PENDING]
    assert _reachable(S.PENDING) == set(S)
    assert all(_reachable(status) & TERMINAL for status in S)


def test_every_status_is_in_one_of_the_sets() -> None:
    assert HOLDING | TERMINAL | {S.PENDING} == set(S)
    assert not HOLDING & TERMINAL
    assert {S.PLACED, S.STARTING, S.PENDING} == COMING


def test_only_the_worker_says_that_something_runs_or_has_ended_on_its_node() -> None:
    """Invariant 1: what holds devices is only given free by the node, or by an operator for a node that is lost."""
    for (old, new), (owner, _) in TRANSITIONS.items():
        if old in HOLDING - {S.LOST} and new in TERMINAL:
            assert owner is Owner.WORKER
        if new is S.READY:
            assert owner is (Owner.SCHEDULER if old is S.LOST else Owner.WORKER)


def test_a_lost_session_holds_its_shares_until_its_node_is_back_or_given_up() -> None:
    assert S.LOST in HOLDING
    assert {new for old, new in TRANSITIONS if old is S.LOST} == {S.READY, S.DRAINING, S.STOPPED}


@given(statuses | st.none(), statuses)
def test_every_arrow_has_one_owner_and_is_among_the_sources(old: SessionStatus | None, new: SessionStatus) -> None:
    owner = owner_of(old, new)
    assert (owner is None) == ((old, new) not in TRANSITIONS)
    for who in Owner:
        assert (old in sources(new, who)) == (old is not None and owner is who)


@given(statuses)
def test_no_arrow_leads_to_where_it_began(status: SessionStatus) -> None:
    assert owner_of(status, status) is None
