"""Backoff is derived from the sessions that ended."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import backoff
from scheduler.backoff import SURROUNDINGS, derive, pause
from stoker.records import Backoff
from stoker.states import SessionStatus
from tests.support.drawn import NOW, failed, session

NONE = Backoff()


def test_pauses_grow_from_a_second_to_five_minutes() -> None:
    assert [pause(n) for n in range(12)] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert pause(10_000) == 300


def test_five_starts_in_a_row_without_ready_give_up() -> None:
    four = [failed(f"s-{i}", NOW + i) for i in range(4)]
    found = derive(1, four, NONE, NOW + 3)
    assert not found.gave_up and found.failures == 4 and found.not_before == NOW + 3 + 8
    found = derive(1, [*four, failed("s-4", NOW + 12)], NONE, NOW + 12)
    assert found.gave_up and found.failures == 5 and found.not_before == NOW + 12 + 16
    assert found.last and found.last.code == "start_exit"


def test_a_ready_session_ends_the_row() -> None:
    sessions = [failed(f"s-{i}", NOW + i) for i in range(4)]
    ready = session("s-9", SessionStatus.READY, on="n1", ready_at=NOW + 3.5)
    assert derive(1, [*sessions, ready], NONE, NOW + 4) == Backoff()
    later = failed("s-5", NOW + 20)
    assert derive(1, [*sessions, ready, later], NONE, NOW + 20).failures == 1


def test_another_revision_starts_afresh() -> None:
    sessions = [failed(f"s-{i}", NOW + i) for i in range(5)]
    assert derive(2, sessions, NONE, NOW + 5) == Backoff()


def test_five_exits_in_ten_minutes_give_up_and_are_forgotten() -> None:
    exits = [failed(f"s-{i}", NOW + 100 * i, ready_at=NOW + 100 * i - 50) for i in range(5)]
    assert not derive(1, exits[:4], NONE, NOW + 400).gave_up
    assert derive(1, exits, NONE, NOW + 400).gave_up
    late = derive(1, exits, NONE, NOW + 601)
    assert not late.gave_up and len(late.exits) == 4
    assert derive(1, exits, NONE, NOW + 1001) == Backoff()


@pytest.mark.parametrize("code", sorted(SURROUNDINGS))
def test_surroundings_pause_but_never_crash(code: str) -> None:
    found = derive(1, [failed(f"s-{i}", NOW + i, code) for i in range(20)], NONE, NOW + 20)
    assert not found.gave_up and found.failures == 0 and found.not_before == NOW + 19 + 300
    assert found.last and found.last.code == code


def test_a_session_stopped_for_its_health_counts_as_an_exit() -> None:
    stopped = msgspec.structs.replace(failed("s-1", NOW, "probe_failed", ready_at=NOW - 400), status=SessionStatus.STOPPED)
    found = derive(1, [stopped], NONE, NOW)
    assert found.exits == (NOW,) and found.not_before == NOW + 1


def test_two_failures_in_a_row_on_a_node_shun_it_for_a_while() -> None:
    one = failed("s-1", NOW, on="n1")
    two = failed("s-2", NOW + 1, on="n1")
    assert backoff.shunned(derive(1, [one], NONE, NOW)) == frozenset()
    assert backoff.shunned(derive(1, [one, two], NONE, NOW + 1)) == {"n1"}
    assert backoff.shunned(derive(1, [one, failed("s-3", NOW, on="n2"), two], NONE, NOW + 1)) == {"n1"}
    assert backoff.shunned(derive(1, [one, two], NONE, NOW + 601)) == frozenset()
    ready = session("s-9", SessionStatus.READY, on="n1", ready_at=NOW + 0.5)
    assert backoff.shunned(derive(1, [one, two, ready], NONE, NOW + 1)) == frozenset()


def test_a_refusing_node_is_left_alone_longer_when_it_does_it_again() -> None:
    first = backoff.refused(NONE, "n1", NOW)
    assert backoff.avoided(first, NOW + 1.9) == {"n1"} and backoff.avoided(first, NOW + 2) == frozenset()
    again = backoff.refused(derive(1, [], first, NOW + 3), "n1", NOW + 3)
    assert backoff.avoided(again, NOW + 17) == {"n1"}
    assert derive(1, [], again, NOW + 60).avoid == {}


def test_the_sentence_stays_the_same_while_it_waits() -> None:
    found = derive(1, [failed("s-1", NOW), failed("s-2", NOW + 1)], NONE, NOW + 1)
    said = backoff.waits(found, NOW + 1)
    assert said is not None and said == backoff.waits(found, NOW + 2.9)
    assert said.code == "start_exit" and "after 2 failed starts" in said.message
    assert backoff.waits(found, NOW + 3) is None


@given(st.lists(st.tuples(st.floats(0, 1000), st.sampled_from(["start_exit", "image_pull", "out_of_memory"]), st.booleans()), max_size=30))
def test_waits_never_beyond_five_minutes_and_never_for_what_did_not_fail(ends: list[tuple[float, str, bool]]) -> None:
    now = NOW + 1000
    sessions = [failed(f"s-{i}", NOW + at, code, ready_at=NOW + at - 1 if was else None) for i, (at, code, was) in enumerate(ends)]
    found = derive(1, sessions, NONE, now)
    assert found.not_before <= max([0.0, *(NOW + at for at, _, _ in ends)]) + 300
    assert found.failures <= sum(code != "image_pull" for _, code, _ in ends)
    assert derive(1, sessions, found, now) == found, "deriving again changes nothing"
