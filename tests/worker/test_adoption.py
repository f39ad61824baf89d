"""kill -9 of the worker at any moment: what runs is adopted, what was half-started is finished, what ended keeps its reason."""

from __future__ import annotations

import asyncio
import os
import random
import signal

import msgspec
import pytest

from stoker.records import Reason
from stoker.states import TERMINAL
from tests.support.worker_node import DEADLINE, WorkerNode, processes_of
from worker.converge import FORGOTTEN_SECONDS
from worker.runtimes.process import State


def supervisor_of(node: WorkerNode, session: str) -> State:
    return msgspec.json.decode((node.folder / "sessions" / session / "state.json").read_bytes(), type=State)


async def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def gone(pid: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while await alive(pid):
            await asyncio.sleep(0.01)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.slow)])
async def test_a_worker_killed_many_times_in_a_row_restarts_and_orphans_nothing(node: WorkerNode, times: int) -> None:
    node.spawn()
    await node.place("svc-aaaaa")
    await node.place("svc-bbbbb", "--children", "2")
    before = [await node.until(id, "READY") for id in ("svc-aaaaa", "svc-bbbbb")]
    chance = random.Random(20)
    for _ in range(times):
        node.kill()
        node.spawn()
        await asyncio.sleep(chance.uniform(0.0, 0.7))
    await node.place("svc-ccccc")
    await node.until("svc-ccccc", "READY")  # so the last one has converged
    after = [await node.session(id) for id in ("svc-aaaaa", "svc-bbbbb")]
    assert [(s.status, s.pid, s.address) for s in after] == [("READY", s.pid, s.address) for s in before]
    for id in ("svc-aaaaa", "svc-bbbbb", "svc-ccccc"):
        await node.drain(id)
        await node.until(id, "STOPPED")
    node.kill(signal.SIGTERM)
    assert processes_of(node.folder) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
async def test_a_worker_killed_while_it_starts_a_session_finishes_it(node: WorkerNode, seed: int) -> None:
    """Killed 0 to 150 ms after the session was placed, three times over: one engine, READY in the end."""
    chance = random.Random(seed)
    node.spawn()
    await node.registered()
    await node.place("svc-aaaaa", "--load", "0.3")
    for _ in range(3):
        await asyncio.sleep(chance.uniform(0.0, 0.15))
        node.kill()
        node.spawn()
    ready = await node.until("svc-aaaaa", "READY")
    engines = {pid for pid in processes_of(node.folder) if pid == ready.pid}
    assert engines == {ready.pid} and len(processes_of(node.folder)) == 2, "the engine and its supervisor"


async def test_a_worker_that_is_asked_to_end_leaves_sessions_running(node: WorkerNode) -> None:
    worker = node.spawn()
    await node.place("svc-aaaaa")
    ready = await node.until("svc-aaaaa", "READY")
    node.kill(signal.SIGTERM)
    assert worker.returncode == 0
    assert ready.pid and await alive(ready.pid)
    assert (await node.session("svc-aaaaa")).status == "READY"


async def test_an_exit_while_no_worker_runs_is_reported_with_its_reason(node: WorkerNode) -> None:
    node.spawn()
    await node.place("svc-aaaaa", "--exit-after", "1")
    ready = await node.until("svc-aaaaa", "READY")
    node.kill()
    assert ready.pid
    await gone(ready.pid)
    node.spawn()
    failed = await node.when("svc-aaaaa", lambda s: s.status == "FAILED")
    assert failed.reason is not None and "exited with code 0 while it served" in failed.reason.message


@pytest.mark.parametrize("down", [False, True])
async def test_a_killed_supervisor_takes_its_engine_and_all_children_along(node: WorkerNode, down: bool) -> None:
    """With the worker there, and with a worker that comes later."""
    node.spawn()
    await node.place("svc-aaaaa", "--children", "4")
    await node.until("svc-aaaaa", "READY")
    if down:
        node.kill()
    os.kill(supervisor_of(node, "svc-aaaaa").supervisor, signal.SIGKILL)
    if down:
        node.spawn()
    failed = await node.when("svc-aaaaa", lambda s: s.status == "FAILED")
    assert failed.reason is not None and "supervisor was killed" in failed.reason.message
    node.kill(signal.SIGTERM)
    assert processes_of(node.folder) == []


async def test_a_drain_that_began_before_the_worker_was_killed_is_finished(node: WorkerNode) -> None:
    node.spawn()
    await node.place("svc-aaaaa", "--stubborn")
    await node.until("svc-aaaaa", "READY")
    await node.drain("svc-aaaaa")
    await asyncio.sleep(0.2)  # somewhere in the grace of a stubborn engine
    node.kill()
    os.kill(supervisor_of(node, "svc-aaaaa").pid, signal.SIGKILL)
    node.spawn()
    await node.when("svc-aaaaa", lambda s: s.status == "STOPPED", fatal=lambda s: s.status == "FAILED")


@pytest.mark.slow
async def test_a_session_that_the_store_forgot_is_told_and_then_stopped(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa")
        await node.place("svc-bbbbb")
        ready = await node.until("svc-aaaaa", "READY")
        await node.until("svc-bbbbb", "READY")
        await node.store.database.commit("session", "svc-aaaaa", {}, delete=True)
        assert ready.pid
        await gone(ready.pid)
        events = await node.store.events.list("node/n1")
        assert (await node.session("svc-bbbbb")).status == "READY"
    assert any("svc-aaaaa is stopped: the store has forgotten it" in event.message for event in events)


@pytest.mark.slow
@pytest.mark.parametrize("new_id", [True, False])
async def test_a_store_that_came_up_empty_stops_nothing(node: WorkerNode, new_id: bool) -> None:
    async with node.running():
        await node.place("svc-aaaaa")
        ready = await node.until("svc-aaaaa", "READY")
        keys, client = node.store.database.keys, node.store.database.client
        every = [key async for key in client.scan_iter(keys.record("*", "")[: -len("*:")] + "*")]
        kept = () if new_id else (keys.store_id().encode(), keys.leader_epoch().encode())
        await client.delete(*(key for key in every if key not in kept))
        if new_id:
            await client.set(keys.store_id(), "another")
        await node.lead()
        await node.registered()  # it saw the other data set, and registered there
        await asyncio.sleep(FORGOTTEN_SECONDS + 3.0)  # time enough to do harm
        assert ready.pid and await alive(ready.pid)
        if new_id:
            await node.registered(lambda record: record.reason is not None and "another data set" in record.reason.message)


async def test_a_lost_session_that_runs_is_left_running_and_known(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa")
        ready = await node.until("svc-aaaaa", "READY")
        await node.store.sessions.lose(ready, Reason("node_lost", "silent"), epoch=node.epoch)
        await node.store.sessions.recover(await node.session("svc-aaaaa"), epoch=node.epoch)
        again = await node.until("svc-aaaaa", "READY")
        assert (again.pid, again.address) == (ready.pid, ready.address)


async def test_a_lost_session_that_ended_has_no_address_any_more(node: WorkerNode) -> None:
    node.spawn()
    await node.place("svc-aaaaa", "--exit-after", "1")
    ready = await node.until("svc-aaaaa", "READY")
    node.kill()
    await node.store.sessions.lose(ready, Reason("node_lost", "silent"), epoch=node.epoch)
    assert ready.pid
    await gone(ready.pid)
    node.spawn()
    await node.when("svc-aaaaa", lambda s: s.address is None and s.pid is None)
    await node.drain("svc-aaaaa")
    over = await node.when("svc-aaaaa", lambda s: s.status in TERMINAL)
    assert over.reason is not None and "exited with code 0" in over.reason.message


async def test_a_session_whose_place_was_taken_back_is_stopped(node: WorkerNode) -> None:
    """PLACED → PENDING, because the worker was thought to be slow: nothing of it stays on the node."""
    async with node.running():
        session = await node.place("svc-aaaaa", "--delay", "30")
        await node.until("svc-aaaaa", "STARTING")
        async with asyncio.timeout(DEADLINE):
            while not processes_of(node.folder):
                await asyncio.sleep(0.01)
        await node.store.database.commit("session", session.id, {"status": "PENDING", "node": None, "assignment": None})
        async with asyncio.timeout(DEADLINE):
            while processes_of(node.folder):
                await asyncio.sleep(0.01)
