"""Hostile and broken clients: each gets the answer that the guard promises, and the engine sees only whole requests."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from router.wire import guard
from tests.support.backend import Backend, Seen, plain
from tests.support.data_path import DataPath


async def _talk(router: DataPath, *pieces: bytes, seconds: float = 5.0) -> bytes:
    """Send, then read until the router closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    try:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        found = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(seconds):
                while data := await reader.read(65536):
                    found += data
        return found
    finally:
        writer.close()


def _get(router: DataPath, *fields: str, target: str = "/services/echo/x", version: str = "HTTP/1.1", host: bool = True) -> bytes:
    lines = [f"GET {target} {version}", *(["host: x"] if host else []), f"authorization: Bearer {router.token}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@pytest.fixture
async def ready(router: DataPath, engine: Backend) -> DataPath:
    await router.service()
    await router.session(engine.address)
    return router


_NOT_HTTP: tuple[tuple[tuple[str, ...], dict[str, Any], int], ...] = (
    ((), {"host": False}, 400),
    (("host: y",), {}, 400),
    (("host: a b",), {"host": False}, 400),
    (("host: a@b",), {"host": False}, 400),
    (("content-length: 5", "transfer-encoding: chunked"), {}, 400),
    (("transfer-encoding: chunked", "transfer-encoding: chunked"), {}, 400),
    (("transfer-encoding: gzip, chunked",), {}, 400),
    (("transfer-encoding: identity",), {}, 400),
    (("transfer-encoding: chunked",), {"version": "HTTP/1.0"}, 400),
    (("content-length: 5", "content-length: 5"), {}, 400),
    (("content-length: 5", "content-length: 6"), {}, 400),
    (("content-length: +3",), {}, 400),
    (("content-length: -3",), {}, 400),
    (("content-length: 99999999999999999999",), {}, 400),
    (("x : y",), {}, 400),
    (("x: a\0b",), {}, 400),
    (("x: a\x1bb",), {}, 400),
    (("x: a", " folded"), {}, 400),
    ((), {"version": "HTTP/9.9"}, 400),
    ((), {"version": "HTTP/1.2"}, 400),
    ((), {"target": "http://evil/services/echo/x"}, 400),
    ((), {"target": "/services/echo/x#y"}, 400),
    ((), {"target": "/services/echo/" + "x" * 9000}, 414),
    (tuple(f"x-{n}: y" for n in range(101)), {}, 431),
    (("x: " + "y" * 70_000,), {}, 431),
)


async def test_what_is_not_http_as_it_is_spoken_here(ready: DataPath, engine: Backend) -> None:
    for fields, more, status in _NOT_HTTP:
        found = await _talk(ready, _get(ready, *fields, **more))
        assert found.startswith(b"HTTP/1.1 %d " % status), (fields, more, found[:200])
        assert b"connection: close" in found and found.count(b"HTTP/1.1 ") == 1
    assert engine.requests == []


async def test_bare_line_ends(ready: DataPath, engine: Backend) -> None:
    for line_end in (b"\n", b"\r"):
        found = await _talk(ready, _get(ready).replace(b"\r\n", line_end), seconds=1)
        assert not found.startswith(b"HTTP/1.1 2")
    assert engine.requests == []


async def test_broken_chunks(ready: DataPath, engine: Backend) -> None:
    head = _get(ready, "transfer-encoding: chunked").replace(b"GET", b"POST")
    end = b"\r\n0\r\n\r\n"
    for body in (b"5\nhello" + end, b"0x3\r\nabc" + end, b"3\r\nabcd" + end, b"-1\r\n\r\n", b"3 \r\nabc" + end, b"g\r\n\r\n"):
        assert (await _talk(ready, head + body, seconds=2)).startswith(b"HTTP/1.1 400"), body
    assert engine.requests == []


async def test_chunk_extensions_without_end(ready: DataPath, engine: Backend) -> None:
    head = _get(ready, "transfer-encoding: chunked").replace(b"GET", b"POST")
    found = await _talk(ready, head, *[b"1;" + b"x" * 60_000 + b"\r\na\r\n"] * 40)
    assert found.startswith(b"HTTP/1.1 400") and engine.requests == []


async def test_a_head_without_end_is_cut_off(ready: DataPath) -> None:
    sent = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", ready.port)
    writer.write(_get(ready)[:-2] + b"x: ")
    with contextlib.suppress(ConnectionError):
        while sent < 4_000_000 and not reader.at_eof() and not reader._buffer:  # type: ignore[attr-defined]
            writer.write(b"y" * 16_384)
            await writer.drain()
            await asyncio.sleep(0)
            sent += 16_384
    assert sent < 3_000_000
    assert (await reader.read(100)).startswith(b"HTTP/1.1 431")
    writer.close()


async def test_trailers_are_dropped(ready: DataPath, engine: Backend) -> None:
    head = _get(ready, "transfer-encoding: chunked", "connection: close").replace(b"GET", b"POST")
    found = await _talk(ready, head + b"3\r\nabc\r\n0\r\nx-evil: 1\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200")
    assert engine.requests[0].body == b"abc" and b"evil" not in engine.requests[0].head


async def test_hop_by_hop_fields_end_here(ready: DataPath, engine: Backend) -> None:
    fields = ("connection: close, x-secret, upgrade", "x-secret: 1", "upgrade: h2c", "http2-settings: AAA", "te: trailers")
    forged = ("x-forwarded-host: evil", "x_api_key: sk-x", "proxy-authorization: x", "keep-alive: 5")
    found = await _talk(ready, _get(ready, *fields, *forged))
    assert found.startswith(b"HTTP/1.1 200")
    for name in (
        "x-secret",
        "upgrade",
        "http2-settings",
        "te",
        "x-forwarded-host",
        "x_api_key",
        "proxy-authorization",
        "keep-alive",
        "connection",
    ):
        assert name not in engine.requests[0].headers


async def test_pipelined_requests_are_answered_in_order(ready: DataPath, engine: Backend) -> None:
    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02 if seen.line.startswith("GET /1") else 0)
        writer.write(plain(200, seen.line.split()[1].encode()))

    engine.script = script
    requests = [_get(ready, target=f"/services/echo/{n}") for n in range(1, 20)]
    requests[5] = _get(ready, target="/nothing")
    last = _get(ready, "connection: close", target="/services/echo/20")
    found = await _talk(ready, b"".join(requests) + last)
    assert found.count(b"HTTP/1.1 200") == 19 and found.count(b"HTTP/1.1 404") == 1
    places = [found.index(b"\r\n\r\n/%d" % n) for n in range(1, 21) if n != 6]
    assert places == sorted(places)


async def test_a_bad_request_behind_a_good_one_gets_no_answer_in_its_place(ready: DataPath, engine: Backend) -> None:
    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(plain(200, b"good"))

    engine.script = script
    found = await _talk(ready, _get(ready) + b"GET / HTTP/1.1\r\nbad\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200") and found.endswith(b"good") and found.count(b"HTTP/1.1") == 1


async def test_slow_clients_are_let_go(ready: DataPath, engine: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(guard, "BODY_SECONDS", 1.0)
    monkeypatch.setattr(guard, "KEEP_ALIVE_SECONDS", 1.0)
    post = _get(ready, "content-length: 100000").replace(b"GET", b"POST")
    started = time.monotonic()
    silent, head, body, idle = await asyncio.gather(
        _talk(ready), _talk(ready, _get(ready)[:-2]), _talk(ready, post + b"abc"), _talk(ready, _get(ready))
    )
    assert time.monotonic() - started < 5
    for found in (silent, head, body):
        assert found.startswith(b"HTTP/1.1 408")
    assert idle.startswith(b"HTTP/1.1 200") and idle.count(b"HTTP/1.1") == 1
    assert ready.in_flight == 0 and len(engine.requests) == 1


async def test_http_1_0_gets_an_answer_it_understands(ready: DataPath, engine: Backend) -> None:
    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    engine.script = script
    found = await _talk(ready, _get(ready, version="HTTP/1.0"))
    assert found.endswith(b"\r\n\r\nabc") and b"chunked" not in found


async def test_a_slow_reader_holds_the_engine_back(ready: DataPath, engine: Backend) -> None:
    written = 0

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            written += 100_000

    engine.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", ready.port, limit=65536)
    writer.write(_get(ready))
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    before = -1
    while before != written:
        before = written
        await asyncio.sleep(0.3)
    assert written < 30_000_000
    got = 0
    async with asyncio.timeout(20):
        while got < 100_000_000:
            got += len(await reader.read(1_000_000))
    writer.close()
