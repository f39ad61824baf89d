"""The contract of the inference path, over real sockets, by each driver."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stoker.keyring import session_key
from tests.support.backend import JSON_ANSWER, STREAM_HEAD, Backend, Seen, chunk, plain
from tests.support.data_path import CLUSTER_KEY, DataPath
from tests.support.raw_requests import CHAT, body, post, raw


async def test_a_request_reaches_the_engine_of_its_model_and_the_answer_comes_back_unchanged(router: DataPath, engine: Backend) -> None:
    await router.service()
    session = await router.session(engine.address, takes_key=True)
    async with router.client() as http:
        answer = await http.post(CHAT, json=body(), headers={"x-request-id": "mine-1", "cookie": "a=b", "x-api-key": "sk-x", "x-mine": "1"})
    assert answer.status_code == 200 and answer.content == JSON_ANSWER
    assert answer.headers["x-stoker-session"] == session.id and answer.headers["x-request-id"] == "mine-1"
    assert "x-stoker-queued-ms" not in answer.headers
    seen = engine.requests[0]
    assert seen.line == f"POST {CHAT} HTTP/1.1" and json.loads(seen.body) == body()
    assert seen.headers["authorization"] == f"Bearer {session_key(CLUSTER_KEY, session.id)}"
    assert seen.headers["x-request-id"] == "mine-1" and seen.headers["x-mine"] == "1" and seen.headers["host"] == engine.address
    assert "cookie" not in seen.headers and "x-api-key" not in seen.headers
    assert router.token.encode() not in seen.head
    assert router.in_flight == 0 and router.asgi_calls == (0 if router.fast else 1)


async def test_connections_to_the_engine_are_kept(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    async with router.client() as http:
        for _ in range(5):
            assert (await http.post(CHAT, json=body())).status_code == 200
    assert engine.connections == 1 and len(engine.requests) == 5


@pytest.mark.parametrize(
    ("path", "host", "at_engine"),
    [
        ("/services/echo/v1/embeddings?a=b", None, "/v1/embeddings?a=b"),
        ("/services/echo", None, "/"),
        ("/services/echo/a%2Fb/", None, "/a%2Fb/"),
        ("/anything", "echo.example.org", "/anything"),
        ("/v1/models", "echo.localhost:8080", "/v1/models"),
        ("/v1/rerank?model=echo", None, "/v1/rerank?model=echo"),
    ],
)
async def test_other_ways_to_name_the_service(router: DataPath, engine: Backend, path: str, host: str | None, at_engine: str) -> None:
    await router.service()
    await router.session(engine.address)
    async with router.client() as http:
        answer = await http.get(path, headers={"host": host} if host else {})
    assert answer.status_code == 200
    assert engine.requests[0].line == f"GET {at_engine} HTTP/1.1"


async def test_a_header_or_the_only_service_names_it_too(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    async with router.client() as http:
        assert (await http.post("/v1/rerank", json={"query": "x"})).status_code == 200
        await router.service("other")
        answer = await http.post("/v1/rerank", json={"query": "x"})
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "model_required"
        assert (await http.post("/v1/rerank", json={}, headers={"x-stoker-service": "echo"})).status_code == 200


async def test_multipart_names_its_model(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    async with router.client() as http:
        answer = await http.post("/v1/audio/transcriptions", data={"model": "echo"}, files={"file": ("a.wav", b"\0\1" * 100_000)})
    assert answer.status_code == 200 and b"\0\1" * 100_000 in engine.requests[0].body


async def test_an_unknown_or_forbidden_model_is_not_found(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.service("theirs", project="other")
    async with router.client() as http, router.client("admin") as admin:
        for name in ("nothing", "theirs"):
            answer = await http.post(CHAT, json=body(name))
            error = answer.json()["error"]
            assert answer.status_code == 404 and error["code"] == "model_not_found" and "echo" in error["message"]
            assert answer.headers["x-stoker-error"] == "model_not_found" and error["request_id"] == answer.headers["x-request-id"]
        await router.session(engine.address, "theirs")
        assert (await admin.post(CHAT, json=body("theirs"))).status_code == 200


async def test_no_token_or_a_wrong_one(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    async with router.client() as http:
        for headers in ({"authorization": "Bearer sk-wrong"}, {"authorization": ""}):
            answer = await http.post(CHAT, json=body(), headers=headers)
            assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
        assert (await http.post(CHAT, json=body(), headers={"authorization": "", "x-api-key": router.token})).status_code == 200


async def test_a_public_service_asks_for_no_token(router: DataPath, engine: Backend) -> None:
    await router.service(open_to_public=True)
    await router.service("private")
    await router.session(engine.address)
    async with router.client() as http:
        for headers in ({"authorization": "Bearer sk-wrong"}, {"authorization": ""}):
            assert (await http.post(CHAT, json=body(), headers=headers)).status_code == 200
            assert (await http.post(CHAT, json=body("private"), headers=headers)).status_code == 401


async def test_operator_paths_are_for_operators(router: DataPath, engine: Backend) -> None:
    await router.service(resolved={"refused_paths": ("/metrics", "/v1/load_*")})
    await router.session(engine.address, refused_paths=("/metrics", "/v1/load_*"))
    async with router.client() as http, router.client("deployer") as deployer:
        for path in ("/metrics", "/metrics/", "//metrics", "/%6detrics", "/METRICS", "/metrics?x=1", "/%256detrics", "/v1/load_lora"):
            answer = await http.get("/services/echo" + path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "path_refused"), path
        for path in ("/a/../metrics", "/a/%2e%2e/metrics", "/./metrics"):
            found = await raw(
                router, f"GET /services/echo{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {router.token}\r\n\r\n".encode()
            )
            assert found.startswith(b"HTTP/1.1 400"), path
        assert engine.requests == []
        assert (await deployer.get("/services/echo/metrics")).status_code == 200


async def test_the_model_is_rewritten_where_the_engine_calls_it_otherwise(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address, upstream_model='/data/models/x"y')
    sent = body(text="echo", n=1.50)
    async with router.client() as http:
        await http.post(CHAT, json=sent)
    assert json.loads(engine.requests[0].body) == {**sent, "model": '/data/models/x"y'}
    assert int(engine.requests[0].headers["content-length"]) == len(engine.requests[0].body)


async def test_a_body_over_the_limit(router: DataPath, engine: Backend) -> None:
    await router.service(routing={"max_body": "64KiB"})
    await router.session(engine.address)
    async with router.client() as http:
        answer = await http.post(CHAT, json=body(text="x" * 70_000))
        assert answer.status_code == 413 and answer.json()["error"]["code"] == "body_too_large"

        async def pieces() -> Any:
            yield json.dumps(body())[:-1].encode()
            for _ in range(80):
                yield b" " * 1000

        answer = await http.post("/services/echo/v1/x", content=pieces())
        assert answer.status_code == 413
    assert engine.requests == [] and router.in_flight == 0


async def test_a_large_upload_is_passed_on_as_it_comes(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    data = bytes(range(256)) * 20_000

    async def pieces() -> Any:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    async with router.client() as http:
        assert (await http.post("/services/echo/upload", content=pieces())).status_code == 200
        assert (await http.post("/services/echo/upload", content=data)).status_code == 200
    assert engine.requests[0].body == data and engine.requests[0].headers["transfer-encoding"] == "chunked"
    assert engine.requests[1].body == data and engine.requests[1].headers["content-length"] == str(len(data))


async def test_a_model_behind_ten_megabytes_is_found(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    sent = json.dumps({"prompt": 'x"\\' * 3_000_000, "model": "echo"})
    async with router.client() as http:
        assert (await http.post(CHAT, content=sent, headers={"content-type": "application/json"})).status_code == 200
    assert engine.requests[0].body == sent.encode()


async def test_a_stream_arrives_as_it_is_written(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    go_on = asyncio.Event()

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(b"data: 1\n\n"))
        await go_on.wait()
        writer.write(chunk(b"data: 2\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    engine.script = script
    async with router.client() as http, http.stream("POST", CHAT, json=body(stream=True)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert await anext(lines) == "data: 1"
        go_on.set()
        assert [line async for line in lines if line] == ["data: 2", "data: [DONE]"]
    assert router.in_flight == 0


async def test_an_answer_without_length_ends_with_its_connection(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nset-cookie: a=b\r\n\r\nabc"
        )
        await writer.drain()
        writer.close()

    engine.script = script
    async with router.client() as http:
        answer = await http.post(CHAT, json=body())
    assert answer.text == "abc" and "set-cookie" not in answer.headers and "link" not in answer.headers


async def test_head_and_no_content(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n" if seen.line.startswith("HEAD") else b"HTTP/1.1 204 No\r\n\r\n")

    engine.script = script
    async with router.client() as http:
        answer = await http.head("/services/echo/x")
        assert answer.status_code == 200 and answer.headers["content-length"] == "500"
        assert (await http.delete("/services/echo/x")).status_code == 204
        assert (await http.head("/services/echo/x")).status_code == 200


async def test_expect_100_continue(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    whole = post(router, body(), "expect: 100-continue\r\n")
    head, _, rest = whole.partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(rest)
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_web_pages_may_call_where_the_service_lets_them(router: DataPath, engine: Backend) -> None:
    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(200, JSON_ANSWER, b"access-control-allow-origin: *"))

    engine.script = script
    await router.service(routing={"cors_origins": ["https://app.example"]})
    await router.session(engine.address)
    asks = {"origin": "https://app.example", "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with router.client() as http:
        for path in (CHAT, "/services/echo/x"):
            answer = await http.options(path, headers={**asks, "authorization": ""})
            assert answer.status_code == 204 and answer.headers["access-control-allow-origin"] == "https://app.example"
            assert answer.headers["access-control-allow-headers"] == "authorization"
            refused = await http.options(path, headers={**asks, "origin": "https://evil.example", "authorization": ""})
            assert refused.status_code == 401 and "access-control-allow-origin" not in refused.headers
        assert engine.requests == []
        answer = await http.post(CHAT, json=body(), headers={"origin": "https://app.example"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example"


async def test_requests_are_counted(router: DataPath, engine: Backend) -> None:
    await router.service()
    await router.session(engine.address)
    async with router.client() as http:
        await http.post(CHAT, json=body())
        await http.post(CHAT, json=body("nothing"))
    text = router.plane.metrics.text().decode()
    assert 'stoker_requests_total{code="200",service="echo"} 1.0' in text
    assert 'stoker_requests_total{code="404",service=""} 1.0' in text
    assert 'stoker_requests_in_flight{service="echo"} 0.0' in text and "nothing" not in text
