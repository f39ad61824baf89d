"""One leads: by a lease in its own thread, with a deadline of its own, and epochs that the store checks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from scheduler.leader import Leader
from stoker.clock import SystemClock
from stoker.errors import StaleLeader, StoreUnavailable
from stoker.records import Reason, SessionRecord
from stoker.states import SessionStatus
from stoker.store.store import Store
from tests.support.quiet_worker import QuietWorker, put, quiet_worker

Start = Callable[..., "subprocess.Popen[bytes]"]
_S = SessionStatus


class Stretched(SystemClock):
    """A clock that can be moved forward, as a process finds it that was stopped."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def leader_of(store: Store, url: str, holder: str, clock: SystemClock | None = None, lease: float = 4.0) -> tuple[Leader, threading.Event]:
    told = threading.Event()
    leader = Leader(holder, lease, lambda: Store.open(url, store.database.keys.cluster), clock or SystemClock())
    leader.start(told.set)
    return leader, told


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_one_leads_and_the_other_follows_as_soon_as_it_resigns(store: Store, redis_url: str) -> None:
    first, told = leader_of(store, redis_url, "first")
    await until(lambda: first.epoch() is not None)
    assert told.is_set()
    second, _ = leader_of(store, redis_url, "second")
    await asyncio.sleep(1.2)
    assert second.epoch() is None
    before = first.epoch()
    await asyncio.to_thread(first.stop)
    assert first.epoch() is None
    await until(lambda: second.epoch() is not None, 3)
    assert second.epoch() == (before or 0) + 1
    await asyncio.to_thread(second.stop)


async def test_a_busy_process_keeps_its_lease(store: Store, redis_url: str) -> None:
    leader, _ = leader_of(store, redis_url, "busy", lease=1.0)
    await until(lambda: leader.epoch() is not None)
    epoch = leader.epoch()
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        sum(range(1000))  # the main loop is blocked, as by a long plan
    assert leader.epoch() == epoch
    await asyncio.to_thread(leader.stop)


async def test_who_was_stopped_finds_the_deadline_passed(store: Store, redis_url: str) -> None:
    clock = Stretched()
    leader, _ = leader_of(store, redis_url, "stopped", clock)
    await until(lambda: leader.epoch() is not None)
    clock.ahead = 3.1
    assert leader.epoch() is None, "before the store gives the lease away, after 4 s"
    await until(lambda: leader.epoch() is not None, 3)
    await asyncio.to_thread(leader.stop)


async def test_without_a_store_the_lease_ends_by_itself(store: Store) -> None:
    opened: list[bool] = []

    async def never() -> Store:
        opened.append(True)
        raise StoreUnavailable("no store answers")

    leader = Leader("alone", 0.4, never, SystemClock())
    leader.start(lambda: None)
    await until(lambda: len(opened) > 2)
    assert leader.epoch() is None and leader.failure is None
    await asyncio.to_thread(leader.stop)


async def test_an_unexpected_error_is_kept_for_who_waits(store: Store) -> None:
    async def broken() -> Store:
        raise ValueError("unexpected")

    leader = Leader("broken", 4.0, broken, SystemClock())
    leader.start(lambda: None)
    await until(lambda: leader.failure is not None)
    await asyncio.to_thread(leader.stop)
    assert isinstance(leader.failure, ValueError)


# as processes


async def _sessions(store: Store) -> list[SessionRecord]:
    return [s for s in (await store.sessions.all()).values() if s.status in (_S.PENDING, _S.PLACED, _S.STARTING, _S.READY)]


async def _holder_is(store: Store, process: subprocess.Popen[bytes]) -> bool:
    holder = await store.leadership.leader()
    return holder is not None and f"-{process.pid}-" in holder


async def _leading(store: Store, processes: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    async with asyncio.timeout(20):
        while True:
            for process in processes:
                if await _holder_is(store, process):
                    return process
            await asyncio.sleep(0.05)


async def _ready(worker: QuietWorker, count: int, seconds: float) -> None:
    await worker.until(seconds, lambda m: sum(s.status is _S.READY for s in m.sessions.values()) == count)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
async def test_another_leads_within_ten_seconds_and_makes_nothing_twice(store: Store, start_scheduler: Start, number: int) -> None:
    processes = [start_scheduler(), start_scheduler()]
    async with quiet_worker(store) as worker:
        leader = await _leading(store, processes)
        (other,) = [process for process in processes if process is not leader]
        await put(store, "a", 3)
        await asyncio.sleep(0.005)  # in the middle of its writes, or near
        os.kill(leader.pid, number)
        await put(store, "b", 2)
        await _ready(worker, 5, 15)
        assert await _holder_is(store, other) or await _leading(store, [other])
        if number == signal.SIGSTOP:
            epoch = await store.leadership.epoch()
            os.kill(leader.pid, signal.SIGCONT)
            await put(store, "c", 1)
            await _ready(worker, 6, 15)
            assert await store.leadership.epoch() == epoch, "the old one leads no more"
        if number == signal.SIGTERM:
            assert await asyncio.to_thread(leader.wait, 10) == 0
        living = await _sessions(store)
        assert len(living) == (6 if number == signal.SIGSTOP else 5)


async def test_the_store_refuses_an_older_leader(store: Store, scheduler: Leader) -> None:
    await until(lambda: scheduler.epoch() is not None)
    session = SessionRecord(id="x-1", service="x", project="default", revision=1, status=_S.PENDING)
    epoch = scheduler.epoch() or 0
    with pytest.raises(StaleLeader):
        await store.sessions.create(session, epoch=epoch - 1)
    await store.sessions.create(session, epoch=epoch)
    with pytest.raises(StaleLeader):
        await store.sessions.withdraw(session, Reason("x", "y"), epoch=epoch + 1)


async def test_a_scheduler_waits_for_its_store_and_ends_when_told(start_scheduler: Start) -> None:
    process = start_scheduler(STOKER_REDIS_URL="unix:///nonexistent/redis.sock")
    await asyncio.sleep(1.5)
    assert process.poll() is None
    process.terminate()
    assert await asyncio.to_thread(process.wait, 10) == 0
