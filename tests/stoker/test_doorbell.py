"""The doorbell is heard at once, never lost, never piles up; and arq 0.28 is what BellWorker takes it for."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import arq.constants
import arq.worker
import pytest

from stoker.doorbell import MARK_MS, QUEUE_LIMIT, BellWorker, Doorbell
from stoker.errors import StoreUnavailable
from stoker.store.embedded import EmbeddedServer
from stoker.store.store import Store


@asynccontextmanager
async def answering(store: Store, answer: Callable[[str], Awaitable[None]]) -> AsyncIterator[BellWorker]:
    worker = BellWorker(store, answer)
    task = asyncio.create_task(worker.main())
    try:
        yield worker
        assert not task.done(), "the worker must not end by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def queued(store: Store) -> int:
    return int(await store.database.client.zcard(store.database.keys.queue()))


async def test_a_ring_is_answered_at_once(store: Store) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue(10)
    loop = asyncio.get_running_loop()
    async with answering(store, heard.put):
        await Doorbell(store).ring("first")
        assert await asyncio.wait_for(heard.get(), 20) == "first"
        waits = []
        for n in range(10):
            before = loop.time()
            await Doorbell(store).ring(f"s{n}")
            assert await asyncio.wait_for(heard.get(), 20) == f"s{n}"
            waits.append(loop.time() - before)
    assert sorted(waits)[5] < 0.3, waits  # arq alone: half of its poll of 0.5 s, or of ours of 1 s
    assert await queued(store) == 0


async def test_ten_thousand_rings_that_nobody_answers_are_one_job(store: Store) -> None:
    bell, began = Doorbell(store), time.monotonic()
    for _ in range(100):
        await asyncio.gather(*(bell.ring("x") for _ in range(100)))
    marks = 1 + int((time.monotonic() - began) * 1000 / MARK_MS)  # a mark that runs out lets one more ring through
    assert 1 <= await queued(store) <= marks


async def test_the_queue_has_an_end_even_if_marks_run_out(store: Store) -> None:
    bell = Doorbell(store)
    for _ in range(QUEUE_LIMIT + 50):
        await bell.ring("x")
        await store.services.clear_dirty()
    assert await queued(store) == QUEUE_LIMIT
    heard: list[str] = []

    async def answer(about: str) -> None:
        heard.append(about)

    async with answering(store, answer), asyncio.timeout(30):
        while await queued(store):
            await asyncio.sleep(0.02)
    assert len(heard) == QUEUE_LIMIT


async def test_no_change_goes_unseen_however_rings_and_answers_interleave(store: Store) -> None:
    """Many ringers count up, then ring; a look reads the count. The last look must see the last count."""
    counter = store.database.keys.events("test-counter")
    seen = 0
    looked = asyncio.Event()

    async def look(_about: str) -> None:
        nonlocal seen
        seen = max(seen, int(await store.database.client.get(counter) or 0))
        looked.set()

    async def change(bell: Doorbell) -> None:
        for _ in range(40):
            await store.database.client.incr(counter)
            await bell.ring("x")

    async with answering(store, look):
        await asyncio.gather(*(change(Doorbell(store)) for _ in range(5)))
        async with asyncio.timeout(4):  # shorter than the life of a mark: no luck by expiry
            while seen < 200:
                looked.clear()
                await looked.wait()


async def test_a_ring_while_the_answer_is_looking_makes_it_look_again(store: Store) -> None:
    looks: asyncio.Queue[str] = asyncio.Queue(10)
    go_on = asyncio.Event()

    async def look(about: str) -> None:
        await looks.put(about)
        await go_on.wait()

    async with answering(store, look):
        await Doorbell(store).ring("a")
        assert await asyncio.wait_for(looks.get(), 20) == "a"
        await Doorbell(store).ring("b")
        assert await asyncio.wait_for(looks.get(), 20) == "b"
        go_on.set()


async def test_it_survives_a_store_that_is_killed_and_connections_that_are_cut(embedded: EmbeddedServer) -> None:
    store = await Store.open(embedded.url, "t")
    heard: asyncio.Queue[str] = asyncio.Queue(100)
    async with answering(store, heard.put) as worker:
        for round in range(3):
            assert embedded.pid is not None
            os.kill(embedded.pid, signal.SIGKILL)
            await embedded.wait()
            with pytest.raises(StoreUnavailable):
                await Doorbell(store).ring("lost")
            await asyncio.sleep(2.2 if round == 0 else 0)  # plain arq ends after two seconds
            await embedded.start()
            await Doorbell(store).ring(f"r{round}")
            while await asyncio.wait_for(heard.get(), 20) != f"r{round}":
                pass  # what could not be ticked off before the kill is answered twice
        for n in range(15):
            await store.database.client.client_kill_filter(_type="pubsub", skipme=True)
            await store.database.client.client_kill_filter(_type="normal", skipme=True)
            await store.services.clear_dirty()
            await Doorbell(store).ring(f"k{n}")
            while await asyncio.wait_for(heard.get(), 20) != f"k{n}":
                pass
        async with asyncio.timeout(20):
            while worker.job_counter:  # a place that were lost with each connection would end up in deafness
                await asyncio.sleep(0.02)
    await store.close()


async def test_an_unanswered_ring_waits_for_the_next_leader(store: Store) -> None:
    started, heard = asyncio.Event(), asyncio.Queue[str](10)

    async def die(_about: str) -> None:
        started.set()
        await asyncio.Event().wait()

    async with answering(store, die):
        await Doorbell(store).ring("x")
        await asyncio.wait_for(started.wait(), 20)
    async with answering(store, heard.put):
        assert await asyncio.wait_for(heard.get(), 20) == "x"
    assert await store.id(), "the store's own connections stay open"


async def test_what_a_killed_worker_had_begun_is_answered_by_the_next_at_once(store: Store) -> None:
    await Doorbell(store).ring("x")
    ids = await store.database.client.zrange(store.database.keys.queue(), 0, -1)
    await store.database.client.psetex(arq.constants.in_progress_key_prefix + ids[0].decode(), 300_000, b"1")
    heard = asyncio.Queue[str](10)
    async with answering(store, heard.put):
        assert await asyncio.wait_for(heard.get(), 20) == "x"


async def test_an_answer_that_fails_does_not_end_the_worker(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue(10)

    async def answer(about: str) -> None:
        if about == "bad":
            raise ValueError("a bug")
        await heard.put(about)

    async with answering(store, answer):
        await Doorbell(store).ring("bad")
        while "a bug" not in caplog.text:
            await asyncio.sleep(0.01)
        await Doorbell(store).ring("good")
        assert await asyncio.wait_for(heard.get(), 20) == "good"


async def test_two_clusters_on_one_redis_hear_their_own_bells_only(store: Store, redis_url: str) -> None:
    other = await Store.open(redis_url, store.database.keys.cluster + "-b")
    mine, theirs = asyncio.Queue[str](10), asyncio.Queue[str](10)
    async with answering(store, mine.put), answering(other, theirs.put):
        await Doorbell(store).ring("mine")
        await Doorbell(other).ring("theirs")
        assert await asyncio.wait_for(mine.get(), 20) == "mine" and await asyncio.wait_for(theirs.get(), 20) == "theirs"
        assert mine.empty() and theirs.empty()
    await other.close()


# --- what we take arq for


async def test_jobs_are_json_under_an_id_of_the_cluster(store: Store) -> None:
    await Doorbell(store).ring("x")
    ids = await store.database.client.zrange(store.database.keys.queue(), 0, -1)
    assert len(ids) == 1 and ids[0].decode().startswith(store.database.keys.cluster + "-")
    job = json.loads(await store.database.client.get(arq.constants.job_key_prefix + ids[0].decode()))
    assert job["f"] == "plan" and job["a"] == ["x"]


async def test_no_key_of_arq_outlives_its_job(store: Store) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue(10)
    async with answering(store, heard.put):
        await Doorbell(store).ring("x")
        await asyncio.wait_for(heard.get(), 20)
        async with asyncio.timeout(20):
            while await store.database.client.keys(f"arq:*{store.database.keys.cluster}-*"):
                await asyncio.sleep(0.02)


def test_arq_is_the_version_whose_inside_was_read() -> None:
    assert importlib.metadata.version("arq").startswith("0.28.")
    assert inspect.iscoroutinefunction(arq.worker.Worker._poll_iteration)
    main = inspect.getsource(arq.worker.Worker.main)
    assert "async for _ in poll(self.poll_delay_s)" in main and "await self._poll_iteration()" in main
    close = inspect.getsource(arq.worker.Worker.close)
    assert "close_connection_pool=True" in close, "that is why BellWorker has a close of its own"
    start = inspect.getsource(arq.worker.Worker.start_jobs)
    assert "self.job_counter = self.job_counter + 1" in start and "self.sem.acquire" in start
