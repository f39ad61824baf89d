"""Logs: several sessions' lines merged by time, followed across sessions, and what a worker cannot give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.admin.logs import choose
from stoker.states import SessionStatus
from stoker.store.store import Store
from tests.support.admin import Router, router
from tests.support.cluster import session_record
from tests.support.worker_http import WorkerHttp, worker_http

PATH = "/admin/services/mine/logs"


@pytest.fixture
async def site(store: Store, tmp_path: Path) -> AsyncIterator[Router]:
    async with router(store, tmp_path) as found, found.client() as admin:
        assert (await admin.put("/admin/services/mine", json={"name": "mine", "model": "demo"})).status_code == 201
        yield found


@pytest.fixture
async def worker(site: Router) -> AsyncIterator[WorkerHttp]:
    async with worker_http(site.context.cluster_key, "n1") as found:
        await site.node("n1", worker_url=found.url)
        yield found


def at(second: int, text: str) -> str:
    return f"2026-01-01T00:00:{second:02d}.000Z {text}"


async def test_lines_of_all_sessions_come_in_the_order_of_their_times(site: Router, worker: WorkerHttp) -> None:
    worker.lines = {"mine-a": [at(1, "one"), at(4, "four")], "mine-b": [at(2, "two"), at(3, "three")], "mine-old": [at(0, "zero")]}
    await site.session(id="mine-a")
    await site.session(id="mine-b", status=SessionStatus.STARTING)
    await site.session(id="mine-old", status=SessionStatus.FAILED, created_at=1.0)
    await site.settled()
    async with site.client() as admin:
        everything = await admin.get(PATH)
        assert everything.headers["content-type"].startswith("text/plain")
        assert everything.text.splitlines() == [
            f"mine-a {at(1, 'one')}", f"mine-b {at(2, 'two')}", f"mine-b {at(3, 'three')}", f"mine-a {at(4, 'four')}",
        ]  # fmt: skip
        assert (await admin.get(PATH, params={"tail": "2"})).text.splitlines() == [f"mine-b {at(3, 'three')}", f"mine-a {at(4, 'four')}"]
        assert (await admin.get(PATH, params={"session": "mine-b"})).text.count("\n") == 2
        assert (await admin.get(PATH, params={"previous": "true"})).text == f"mine-old {at(0, 'zero')}\n"
        assert (await admin.get("/admin/sessions/mine-old/logs")).text == f"mine-old {at(0, 'zero')}\n"
        await admin.get(PATH, params={"since": "12.5", "tail": "7"})
        assert worker.asked[-1] == {"since": "12.5", "tail": "7"}
        assert (await admin.get(PATH, params={"tail": "-1"})).status_code == 400
        assert (await admin.get(PATH, params={"session": "nobody"})).status_code == 404
        await site.session("theirs", id="theirs-a")
        await site.settled()
        assert (await admin.get(PATH, params={"session": "theirs-a"})).status_code == 404


async def test_following_goes_on_with_the_next_session_and_ends_with_the_client(site: Router, worker: WorkerHttp) -> None:
    worker.lines = {"mine-a": [at(1, "one")], "mine-b": [at(2, "early")]}
    await site.session(id="mine-a")
    await site.settled()
    async with site.client() as admin, asyncio.timeout(20):
        async with admin.stream("GET", PATH, params={"follow": "true"}) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == f"mine-a {at(1, 'one')}"
            await worker.say("mine-a", at(3, "more"))
            assert await anext(lines) == f"mine-a {at(3, 'more')}"
            await worker.end("mine-a")
            await site.session(id="mine-b")
            assert await anext(lines) == f"mine-b {at(2, 'early')}"
            assert worker.followers == 1
        while worker.followers:
            await asyncio.sleep(0.01)


async def test_a_client_that_leaves_amid_many_lines_leaves_nothing_behind(
    site: Router, worker: WorkerHttp, caplog: pytest.LogCaptureFixture
) -> None:
    """The router is stuck in sending when the client goes."""
    worker.lines = {"mine-a": [at(1, "x" * 10_000)] * 2_000}
    await site.session(id="mine-a")
    await site.settled()
    for query in ({"follow": "true"}, {}):
        async with site.client() as admin, asyncio.timeout(20):
            async with admin.stream("GET", PATH, params=query) as answer:
                await anext(answer.aiter_raw())
                await asyncio.sleep(0.2)
            while worker.followers:
                await asyncio.sleep(0.01)
    assert "failed" not in caplog.text and "Traceback" not in caplog.text


async def test_followers_do_not_hold_up_the_end_of_the_router(site: Router, worker: WorkerHttp) -> None:
    worker.lines = {"mine-a": [at(1, "one")]}
    await site.session(id="mine-a")
    await site.settled()
    async with site.client() as admin, asyncio.timeout(20), admin.stream("GET", PATH, params={"follow": "true"}) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines)
        site.context.life.draining = True
        assert [line async for line in lines] == []


async def test_following_one_session_ends_with_it(site: Router, worker: WorkerHttp) -> None:
    worker.lines, worker.ended = {"mine-a": [at(1, "one"), at(2, "two")]}, {"mine-a"}
    await site.session(id="mine-a")
    await site.settled()
    async with site.client() as admin, asyncio.timeout(20):
        assert (await admin.get("/admin/sessions/mine-a/logs", params={"follow": "1", "tail": "1"})).text == f"mine-a {at(2, 'two')}\n"


async def test_what_cannot_be_had_is_said_in_a_line(site: Router, worker: WorkerHttp) -> None:
    await site.session(id="mine-a")
    await site.session(id="mine-b", node="n2")
    await site.session(id="mine-c", node="n3")
    await site.node("n2", worker_url="http://127.0.0.1:1")
    await site.node("n4", worker_url=worker.url)
    await site.session(id="mine-d", node="n4")
    await site.settled()
    async with site.client() as admin:
        text = (await admin.get(PATH)).text
    assert "mine-a" in text and "no logs of it" in text
    assert "the worker of n2 does not answer" in text and "the node n3 is not there" in text
    assert "the worker of n4 does not know this router's key" in text
    assert len(text.splitlines()) == 4


async def test_a_service_that_never_ran_has_no_lines(site: Router) -> None:
    async with site.client() as admin:
        answer = await admin.get(PATH)
    assert answer.status_code == 200 and answer.text == ""


def test_which_sessions_are_read() -> None:
    live = [session_record("x-2", SessionStatus.READY), session_record("x-1", SessionStatus.STARTING)]
    over = [session_record("x-0", SessionStatus.FAILED)]
    waiting = session_record("x-3", SessionStatus.PENDING, node=None)
    everything = [*live, *over, waiting]
    assert [s.id for s in choose(everything, only=None, previous=False)] == ["x-1", "x-2"]
    assert [s.id for s in choose(everything, only="x-0", previous=False)] == ["x-0"]
    assert [s.id for s in choose(everything, only=None, previous=True)] == ["x-0"]
    assert [s.id for s in choose([*over, waiting], only=None, previous=False)] == ["x-0"], "the last end tells why nothing runs"
    assert choose([waiting], only=None, previous=True) == []
