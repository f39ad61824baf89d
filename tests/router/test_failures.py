"""Engines that fail, break off or stall, and clients that leave: what the other side is told."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.backend import JSON_ANSWER, STREAM_HEAD, Backend, Seen, backend, chunk, plain
from tests.support.data_path import DataPath
from tests.support.raw_requests import CHAT, body, post, raw


async def test_a_stream_that_breaks_off_says_so(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(b'data: {"a": 1}\n\ndata: {"half'))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    engine.script = script
    async with router.client() as http:
        text = (await http.post(CHAT, json=body(stream=True))).text
    first, error = text.strip().split("\n\n")
    assert first == 'data: {"a": 1}' and error.startswith("event: error\ndata: ")
    assert json.loads(error.split("data: ")[1])["error"]["code"] == "stream_interrupted"
    assert router.in_flight == 0


async def test_another_broken_body_is_left_unterminated(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    for head in (b"content-length: 100\r\n", b"transfer-encoding: chunked\r\n"):

        async def script(seen: Seen, writer: asyncio.StreamWriter, head: bytes = head) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + head + b"\r\n" + chunk(b'{"a": '))
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.transport.abort()

        engine.script = script
        found = await raw(router, post(router, body()))
        assert b'{"a": ' in found and not found.endswith(b"0\r\n\r\n") and b"stream_interrupted" not in found
    assert router.in_flight == 0


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_an_engines_own_error_passes_unchanged(router: DataPath, engine: Backend, status: int) -> None:
    await router.service()
    await router.session(engine.address)

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(status, b'{"detail": "mine"}', b"x-engine: 1"))

    engine.script = script
    async with router.client() as http:
        answer = await http.post(CHAT, json=body())
    assert (answer.status_code, answer.json(), answer.headers["x-engine"]) == (status, {"detail": "mine"}, "1")
    assert "x-stoker-error" not in answer.headers and len(engine.requests) == 1


async def test_a_client_that_leaves_frees_the_engine(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if b"stream" in seen.body:
            writer.write(STREAM_HEAD + chunk(b"data: 1\n\n"))
        await asyncio.sleep(60)

    engine.script = script
    for sent in (body(), body(stream=True)):
        engine.aborted.clear()
        engine.arrived.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", router.port)
        writer.write(post(router, sent))
        await asyncio.wait_for(engine.arrived.wait(), 5)
        assert router.in_flight == 1
        writer.close()
        await asyncio.wait_for(engine.aborted.wait(), 1)
        await router.until(lambda: router.in_flight == 0, 1)


async def test_a_retry_goes_to_another_route_before_the_first_byte(router: DataPath, engine: Backend) -> None:
    async def reset(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    await router.service()
    async with backend(reset) as bad:
        await router.session(bad.address)
        await router.session(engine.address)
        async with router.client() as http:
            for _ in range(4):
                assert (await http.post(CHAT, json=body())).status_code == 200
        assert len(engine.requests) == 4 and bad.requests


async def test_an_engine_that_nobody_reaches_is_a_502(router: DataPath) -> None:
    await router.service()
    await router.session("127.0.0.1:9")
    async with router.client() as http:
        answer = await http.post(CHAT, json=body())
    assert answer.status_code == 502 and answer.json()["error"]["code"] == "engine_failed"
    assert router.in_flight == 0


async def test_an_engine_that_refuses_our_own_key_is_another_engine(router: DataPath, engine: Backend) -> None:
    async def wrong(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(401, b"{}"))

    await router.service()
    async with backend(wrong) as other:
        stray = await router.session(other.address, takes_key=True)
        await router.session(engine.address, takes_key=True)
        async with router.client() as http:
            assert [(await http.post(CHAT, json=body())).status_code for _ in range(4)] == [200] * 4
        assert len(other.requests) == 1
        assert router.plane.directory.routes[stray.id].health(router.plane.now()) == "unhealthy"


async def test_the_first_byte_and_silence_have_deadlines(router: DataPath, engine: Backend) -> None:
    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if b"stream" in seen.body:
            writer.write(STREAM_HEAD + chunk(b"data: 1\n\n"))
        await asyncio.sleep(60)

    engine.script = script
    await router.service(routing={"first_byte_timeout": 1, "idle_timeout": 1})
    await router.session(engine.address)
    async with router.client() as http:
        answer = await http.post(CHAT, json=body())
        assert answer.status_code == 504 and answer.json()["error"]["code"] == "engine_timeout"
        answer = await http.post(CHAT, json=body(stream=True))
        assert "stream_interrupted" in answer.text and "[DONE]" not in answer.text
    assert router.in_flight == 0


async def test_a_kept_connection_that_the_engine_closed_costs_nothing(router: DataPath, engine: Backend) -> None:
    await router.service(routing={"retries": 0})
    await router.session(engine.address)

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.connection == 1 and len(engine.requests) > 1:
            writer.transport.abort()
        else:
            writer.write(plain(200, JSON_ANSWER))

    engine.script = script
    async with router.client() as http:
        assert [(await http.post(CHAT, json=body())).status_code for _ in range(2)] == [200, 200]
