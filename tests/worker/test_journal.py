"""The node's last word: nothing has two owners, whatever comes in whatever order, and whenever the worker is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.records import DeviceShare, Reason
from worker.grants import COOLING_SECONDS, Grant, Room, conflict, live, port_candidates
from worker.journal import Held, Journal

GIB = 2**30
ROOM = Room(memory=16 * GIB, devices={"g0": 80 * GIB, "g1": 80 * GIB})
WHY = Reason("start_exit", "it fell over")


def grant(session: str, port: int = 20000, **more: Any) -> Grant:
    return Grant(session=session, service="svc", store="s", port=port, **more)


shares = st.builds(DeviceShare, device=st.sampled_from(["g0", "g1", "g2"]), share=st.integers(1, 100), memory=st.integers(0, 100 * GIB))
wishes = st.builds(
    grant,
    session=st.sampled_from([f"svc-{n}" for n in range(8)]),
    port=st.integers(20000, 20004),
    memory=st.integers(0, 10 * GIB),
    gpus=st.lists(shares, max_size=2).map(tuple),
)
moves = st.lists(st.one_of(wishes, st.sampled_from([f"svc-{n}" for n in range(8)])), max_size=25)


def assert_no_two_owners(grants: Iterable[Grant]) -> None:
    held = live(grants)
    assert len({g.port for g in held}) == len(held)
    assert sum(g.memory for g in held) <= ROOM.memory
    for device, memory in ROOM.devices.items():
        here = [share for g in held for share in g.gpus if share.device == device]
        assert sum(share.share for share in here) <= 100 and sum(share.memory for share in here) <= memory
    assert {share.device for g in held for share in g.gpus} <= ROOM.devices.keys()


@given(moves)
def test_nothing_ever_has_two_owners(steps: list[Grant | str]) -> None:
    """Grants are asked for and ended in any order; what is refused changes nothing."""
    book: dict[str, Grant] = {}
    for step in steps:
        if isinstance(step, str):
            book.pop(step, None)
        elif conflict(step, book.values(), ROOM) is None:
            book[step.session] = step
        assert_no_two_owners(book.values())


@settings(max_examples=20, deadline=None)
@given(moves)
def test_the_journal_on_disk_is_the_journal_in_memory(steps: list[Grant | str]) -> None:
    async def scenario(folder: Path) -> None:
        journal = Journal.open(folder)
        for step in steps:
            if isinstance(step, str):
                if journal.live(step):
                    await journal.end(step, WHY, now=1.0)
            else:
                with contextlib.suppress(Held):
                    await journal.claim(step.session, ROOM, lambda _, wanted=step: wanted)
            assert_no_two_owners(journal.grants.values())
        assert Journal.open(folder).grants == journal.grants

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))


async def test_two_that_come_at_once_do_not_get_the_same(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    whole = (DeviceShare("g0", 100),)
    asked = [journal.claim(f"svc-{n}", ROOM, lambda _, n=n: grant(f"svc-{n}", 20000 + n, gpus=whole)) for n in range(5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Grant) for answer in answers) == 1
    refused = next(answer for answer in answers if isinstance(answer, Held))
    assert refused.reason.code == "held_by" and "it is held by svc-0" in refused.reason.message


@given(st.lists(wishes, max_size=6), st.integers(0, 10**6), st.text(max_size=3))
def test_ports_are_tried_free_ones_first_then_the_longest_cooled_and_never_a_held_one(grants: list[Grant], ended: int, seed: str) -> None:
    now = 10**6 + COOLING_SECONDS / 2
    cooling = [grant(f"old-{port}", port, ended_at=float(ended + port)) for port in (20001, 20003)]
    every = [*grants, *cooling]
    tried = list(port_candidates(20000, 20004, every, now, seed))
    held = {g.port for g in live(every)}
    assert sorted(tried) == sorted(set(range(20000, 20005)) - held)
    hot = [g.port for g in cooling if now - (g.ended_at or 0) < COOLING_SECONDS and g.port not in held]
    assert hot == tried[len(tried) - len(hot) :]


def _kill_at(number: int) -> Callable[[], int]:
    """Every file operation of the journal counts; the process is killed instead of doing the `number`th."""
    count = 0

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **words: Any) -> Any:
            nonlocal count
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return original(*args, **words)

        return call

    for name in ("open", "fsync", "replace", "close", "fdopen"):
        setattr(os, name, wrapped(getattr(os, name)))
    return lambda: count


async def _history(folder: Path) -> None:
    journal = Journal.open(folder)
    await journal.claim("svc-1", ROOM, lambda _: grant("svc-1", 20001, gpus=(DeviceShare("g0", 50),)))
    await journal.end("svc-1", WHY, now=1.0)
    await journal.mark_reported("svc-1")
    await journal.saw("s", 7)


def test_killed_between_any_two_file_operations_the_journal_is_readable(tmp_path: Path) -> None:
    """And says what the last finished step said, or the one under way."""
    seen = set()
    for number in range(200):
        folder = tmp_path / str(number)
        child = os.fork()
        if child == 0:
            _kill_at(number)
            asyncio.run(_history(folder))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        journal = Journal.open(folder)
        assert journal.broken == {}
        found = journal.grants.get("svc-1")
        seen.add((found.ended_at, found.reported) if found else None)
        if status == 0:
            break
    assert os.WIFEXITED(status) and number > 10
    assert seen == {None, (None, False), (1.0, False), (1.0, True)}


async def test_what_cannot_be_read_is_loud_and_not_sold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal.open(tmp_path)
    await journal.claim("svc-1", ROOM, lambda _: grant("svc-1", gpus=(DeviceShare("g0", 100),)))
    (tmp_path / "svc-1.json").write_text('{"session": "svc-1", "ser')
    again = Journal.open(tmp_path)
    assert "svc-1" in again.broken and "cannot be read" in caplog.text
    with pytest.raises(Held, match="cannot tell what svc-1 holds"):
        await again.claim("svc-2", ROOM, lambda _: grant("svc-2", 20001, gpus=(DeviceShare("g0", 100),)))
    await again.claim("svc-3", ROOM, lambda _: grant("svc-3", 20002))
    await again.drop_broken("svc-1")
    await again.claim("svc-2", ROOM, lambda _: grant("svc-2", 20001, gpus=(DeviceShare("g0", 100),)))
    assert Journal.open(tmp_path).broken == {}


async def test_a_full_disk_grants_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            await journal.claim("svc-1", ROOM, lambda _: grant("svc-1"))
    assert journal.grants == {} and Journal.open(tmp_path).grants == {} and list(tmp_path.iterdir()) == []


async def test_a_data_set_that_goes_backwards_is_not_believed(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    assert [await journal.saw("a", epoch) for epoch in (5, 5, 6)] == [True, True, True]
    again = Journal.open(tmp_path)
    assert [await again.saw("a", epoch) for epoch in (5, 6, 7)] == [False, True, True]
    assert await again.saw("b", 1)


async def test_an_entry_goes_when_its_port_has_cooled_and_the_store_knows(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    await journal.claim("svc-1", ROOM, lambda _: grant("svc-1"))
    await journal.end("svc-1", None, now=100.0)
    await journal.forget_cold(100.0 + 2 * COOLING_SECONDS)
    assert "svc-1" in journal.grants, "not reported yet"
    await journal.mark_reported("svc-1")
    await journal.forget_cold(100.0 + COOLING_SECONDS - 1)
    assert "svc-1" in journal.grants
    await journal.forget_cold(100.0 + COOLING_SECONDS + 1)
    assert journal.grants == {} and list(tmp_path.iterdir()) == []
