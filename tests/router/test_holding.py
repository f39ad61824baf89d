"""Requests that must wait: held in order, answered once, started once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from tests.support.backend import JSON_ANSWER, STREAM_HEAD, Backend, Seen, chunk, plain
from tests.support.data_path import DataPath

CHAT = "/v1/chat/completions"


def body(model: str = "echo", **more: Any) -> dict[str, Any]:
    return {"messages": [], "model": model, **more}


async def test_two_hundred_requests_at_once_are_one_start_and_two_hundred_answers(router: DataPath, engine: Backend) -> None:
    await router.service(replicas={"min": 0, "max": 1})
    limits = httpx2.Limits(max_connections=200)
    async with router.client(limits=limits) as http:
        requests = [asyncio.create_task(http.post(CHAT, json=body(n=n))) for n in range(200)]
        await router.until(lambda: router.plane.admission.waiting("echo") == 200)
        assert router.plane.heartbeat.loads()["echo"].waiting == 200
        await router.until(lambda: bool(router.woken))
        session = await router.starting()
        await router.ready(session, engine.address)
        answers = await asyncio.gather(*requests)
    assert {answer.status_code for answer in answers} == {200}
    assert all(int(answer.headers["x-stoker-queued-ms"]) > 0 for answer in answers)
    assert router.woken == ["echo"] and len(engine.requests) == 200 and router.in_flight == 0


async def test_they_are_served_in_order_of_arrival_and_within_the_limit_of_a_session(router: DataPath, engine: Backend) -> None:
    most = now = 0

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        writer.write(plain(200, JSON_ANSWER))

    engine.script = script
    await router.service(routing={"max_concurrency": 2})
    async with router.client() as http:
        requests = []
        for n in range(10):
            requests.append(asyncio.create_task(http.post(CHAT, json=body(n=n))))
            await router.until(lambda n=n: router.plane.admission.waiting("echo") == n + 1)
        await router.session(engine.address)
        await asyncio.gather(*requests)
    assert [json.loads(seen.body)["n"] for seen in engine.requests] == list(range(10))
    assert most == 2


async def test_too_many_are_refused(router: DataPath) -> None:
    await router.service(routing={"queue": 1}, replicas={"min": 0, "max": 1})
    async with router.client() as http:
        first = asyncio.create_task(http.post(CHAT, json=body()))
        await router.until(lambda: router.plane.admission.waiting("echo") == 1)
        answer = await http.post(CHAT, json=body())
        assert answer.status_code == 429 and answer.json()["error"]["code"] == "queue_full" and answer.headers["retry-after"]
        first.cancel()
        await router.until(lambda: router.plane.admission.waiting("echo") == 0)


async def test_waiting_has_an_end(router: DataPath) -> None:
    await router.service(routing={"queue_timeout": 1}, replicas={"min": 0, "max": 1})
    async with router.client() as http:
        answer = await http.post(CHAT, json=body())
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "no_capacity" and answer.headers["retry-after"]


async def test_nobody_waits_for_a_stopped_service(router: DataPath) -> None:
    await router.service(replicas=0)
    async with router.client() as http:
        answer = await http.post(CHAT, json=body())
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "service_stopped"
        assert answer.headers["x-should-retry"] == "false"
    assert router.woken == []


async def test_those_who_wait_are_answered_when_the_start_is_given_up(router: DataPath) -> None:
    await router.service()
    async with router.client() as http:
        waiting = [asyncio.create_task(http.post(CHAT, json=body())) for _ in range(3)]
        await router.until(lambda: router.plane.admission.waiting("echo") == 3)
        await router.give_up()
        for answer in await asyncio.wait_for(asyncio.gather(*waiting), 5):
            error = answer.json()["error"]
            assert answer.status_code == 503 and error["code"] == "start_failed" and "exited with code 1" in error["message"]
        answer = await http.post(CHAT, json=body())
        assert answer.json()["error"]["code"] == "start_failed"


async def test_a_deleted_service_lets_nobody_wait(router: DataPath) -> None:
    record = await router.service()
    async with router.client() as http:
        waiting = asyncio.create_task(http.post(CHAT, json=body()))
        await router.until(lambda: router.plane.admission.waiting("echo") == 1)
        await router.store.services.delete(record, now=False, actor="t")
        assert (await asyncio.wait_for(waiting, 5)).status_code == 503
        assert (await http.post(CHAT, json=body())).status_code == 404


async def test_progress_is_told_on_a_held_stream(router: DataPath, engine: Backend) -> None:
    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    engine.script = script
    await router.service()
    headers = {"x-stoker-progress": "1"}
    async with router.client() as http, http.stream("POST", CHAT, json=body(stream=True), headers=headers) as answer:
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        told = json.loads((await anext(lines)).removeprefix(": "))
        assert told["position"] == 1 and {"phase", "eta_seconds"} <= told.keys()
        session = await router.starting()
        while '"phase":"starting"' not in await anext(lines):
            pass
        await router.ready(session, engine.address)
        assert [line async for line in lines if line.startswith("data")] == ["data: 1", "data: [DONE]"]


async def test_progress_ends_with_an_error_event(router: DataPath) -> None:
    await router.service()
    async with router.client() as http:
        waiting = asyncio.create_task(http.post(CHAT, json=body(stream=True), headers={"x-stoker-progress": "1"}))
        await router.until(lambda: router.plane.admission.waiting("echo") == 1)
        await router.give_up()
        answer = await waiting
    assert answer.status_code == 200 and "event: error" in answer.text and "start_failed" in answer.text


async def test_a_client_that_leaves_gives_up_its_place(router: DataPath, engine: Backend) -> None:
    await router.service()
    async with router.client() as http:
        waiting = asyncio.create_task(http.post(CHAT, json=body()))
        await router.until(lambda: router.plane.admission.waiting("echo") == 1)
        waiting.cancel()
        await router.until(lambda: router.plane.admission.waiting("echo") == 0, 1)
    await router.session(engine.address)
    assert engine.requests == []


async def test_a_session_that_drains_gets_nothing_new_and_is_reported_empty(router: DataPath, engine: Backend) -> None:
    go_on = asyncio.Event()

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(plain(200, JSON_ANSWER))

    engine.script = script
    await router.service()
    session = await router.session(engine.address)
    async with router.client() as http:
        running = asyncio.create_task(http.post(CHAT, json=body()))
        await asyncio.wait_for(engine.arrived.wait(), 5)
        await router.drain(session)
        later = asyncio.create_task(http.post(CHAT, json=body()))
        await router.until(lambda: router.plane.admission.waiting("echo") == 1)
        assert not await router.store.routers.drained(session.id)
        go_on.set()
        assert (await running).status_code == 200
        async with asyncio.timeout(5):
            while not await router.store.routers.drained(session.id):
                await asyncio.sleep(0.01)
        later.cancel()
    assert len(engine.requests) == 1


@pytest.mark.parametrize("known", [True, False])
async def test_an_engine_that_dies_is_waited_for_until_its_successor_is_there(router: DataPath, engine: Backend, known: bool) -> None:
    await router.service()
    dead = await router.session("127.0.0.1:9")
    async with router.client() as http:
        request = asyncio.create_task(http.post(CHAT, json=body()))
        if known:
            await router.until(lambda: bool(router.plane.exchanges))
        await router.fail(dead)
        await router.session(engine.address)
        assert (await request).status_code == 200
