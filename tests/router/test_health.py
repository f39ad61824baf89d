"""Health of routes: probes by one router each, what others see, and the router's own end."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.health import owner
from stoker.records import HealthCheck, RouteHealth
from tests.support.backend import JSON_ANSWER, STREAM_HEAD, Backend, Seen, chunk, plain
from tests.support.data_path import DataPath

CHAT = "/v1/chat/completions"
BODY = {"model": "echo", "messages": []}


@given(st.sets(st.text(min_size=1, max_size=8), min_size=2, max_size=6), st.text(max_size=12))
def test_one_of_the_live_routers_owns_a_route_and_only_its_own_move_when_it_ends(routers: set[str], session: str) -> None:
    mine = owner(session, routers)
    assert mine in routers
    for gone in routers - {mine}:
        assert owner(session, routers - {gone}) == mine


def test_routes_spread_over_the_routers() -> None:
    counts = Counter(owner(f"echo-{n}", ["a", "b", "c"]) for n in range(900))
    assert min(counts.values()) > 200


async def test_a_route_that_misses_its_probes_gets_nothing_and_comes_back(
    fast_router: DataPath, engine: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.health.LOOK_SECONDS", 0.1)
    sick = True

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(503 if sick and seen.line.startswith("GET /health") else 200, JSON_ANSWER))

    engine.script = script
    await fast_router.service(routing={"queue_timeout": 1})
    session = await fast_router.session(engine.address, health=HealthCheck(interval=0.1, max_retries=2))
    route = fast_router.plane.directory.routes[session.id]
    await fast_router.until(lambda: route.probed is False)
    assert route.health(fast_router.plane.now()) == "unhealthy" and route.reason is not None and "503" in route.reason.message
    assert (await fast_router.store.routers.health())[session.id].health == "unhealthy"
    async with fast_router.client() as http:
        assert (await http.post(CHAT, json=BODY)).status_code == 503
        sick = False
        await fast_router.until(lambda: route.probed is True)
        assert (await http.post(CHAT, json=BODY)).status_code == 200
    assert all("authorization" not in seen.headers for seen in engine.requests)
    await fast_router.fail(session)
    async with asyncio.timeout(5):
        while session.id in await fast_router.store.routers.health():
            await asyncio.sleep(0.02)


async def test_an_engine_whose_tokens_flow_is_not_probed(fast_router: DataPath, engine: Backend) -> None:
    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for _ in range(40):
            writer.write(chunk(b"data: 1\n\n"))
            await asyncio.sleep(0.05)
        writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    engine.script = script
    await fast_router.service()
    await fast_router.session(engine.address, health=HealthCheck(interval=1.0, max_retries=1))
    async with fast_router.client() as http:
        assert (await http.post(CHAT, json={**BODY, "stream": True})).text.endswith("[DONE]\n\n")
    assert [seen.line for seen in engine.requests if "health" in seen.line] == []


async def test_what_another_router_saw_counts(fast_router: DataPath, engine: Backend) -> None:
    await fast_router.service()
    session = await fast_router.session(engine.address, health=HealthCheck(interval=0.1))
    route = fast_router.plane.directory.routes[session.id]
    await fast_router.store.routers.set_health(session.id, RouteHealth(health="unhealthy", misses=10))
    other = next(name for name in map(str, range(1000)) if owner(session.id, ["r1", name]) == name)
    await fast_router.store.routers.beat(other, {})
    await fast_router.until(lambda: route.probed is False)


async def test_the_load_is_told_and_the_router_leaves(fast_router: DataPath, engine: Backend) -> None:
    go_on = asyncio.Event()

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(plain(200, JSON_ANSWER))

    engine.script = script
    await fast_router.service()
    await fast_router.session(engine.address)
    async with fast_router.client() as http:
        running = asyncio.create_task(http.post(CHAT, json=BODY))
        async with asyncio.timeout(5):
            while (await fast_router.store.routers.loads()).get("r1", {}).get("echo", None) is None:
                await asyncio.sleep(0.05)
        load = (await fast_router.store.routers.loads())["r1"]["echo"]
        assert (load.in_flight, load.waiting) == (1, 0) and load.last_request_at > 0
        go_on.set()
        assert (await running).status_code == 200


async def test_the_end_of_a_router_loses_nothing(router: DataPath, engine: Backend) -> None:
    """Requests under way are finished, kept connections are told to close, streams get the grace and then a word."""
    started = asyncio.Event()

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if b"stream" in seen.body:
            writer.write(STREAM_HEAD + chunk(b"data: 1\n\n"))
            started.set()
            await asyncio.sleep(60)
        await asyncio.sleep(0.3)
        writer.write(plain(200, JSON_ANSWER))

    engine.script = script
    await router.service()
    await router.session(engine.address)
    async with router.client() as idle, router.client() as busy, router.client() as streaming:
        assert (await idle.post(CHAT, json=BODY)).status_code == 200
        stream = asyncio.create_task(streaming.post(CHAT, json={**BODY, "stream": True}))
        await asyncio.wait_for(started.wait(), 5)
        under_way = asyncio.create_task(busy.post(CHAT, json=BODY))
        await router.until(lambda: router.in_flight == 2)
        router.server.stop(3)
        assert (await under_way).status_code == 200
        answer = await idle.post(CHAT, json=BODY)
        assert answer.status_code == 200 and answer.headers["connection"] == "close"
        async with asyncio.timeout(10):
            while router.server.server_state.connections and not stream.done():
                await asyncio.sleep(0.05)
                if router.server.should_exit and len(router.plane.exchanges) == 1:
                    router.plane.stop()
        assert "stream_interrupted" in (await stream).text
    async with httpx2.AsyncClient() as http:
        try:
            await http.get(router.url + "/services/echo/x")
        except httpx2.ConnectError:
            return
    raise AssertionError("the router still listens")
