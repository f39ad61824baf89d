"""Reading logs: the end, since a time, what comes, through rotations; and the small HTTP that serves them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from worker import logs
from worker.asked_facts import AskedFacts
from worker.log_server import CONNECTIONS, LogServer
from worker.model_facts import FactsBook
from worker.runtimes.engine_log import LINE_LIMIT, EngineLog

LIMIT = 5_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "svc-aaaaa"
    made.mkdir()
    return made


def write(folder: Path, *lines: str) -> EngineLog:
    log = EngineLog(str(folder / "log"), LIMIT, 3)
    for line in lines:
        log.feed(f"{line}\n".encode())
    return log


def texts(lines: list[bytes]) -> list[str]:
    return [line.decode().split(" ", 1)[1].rstrip("\n") for line in lines]


@pytest.mark.parametrize("wanted", [0, 1, 7, 100, 10_000])
def test_the_last_lines_are_read_across_rotated_files(folder: Path, wanted: int) -> None:
    written = [f"line {n} {'x' * (n % 60)}" for n in range(150)]
    write(folder, *written)
    assert (folder / "log.1").exists()
    lines, _ = logs.tail(folder, wanted, None)
    kept = texts(logs.tail(folder, logs.MOST_LINES, None)[0])
    assert texts(lines) == (kept[-wanted:] if wanted else [])
    assert kept == written[-len(kept) :] and len(kept) > 60


def test_lines_since_a_time(folder: Path) -> None:
    write(folder, "old")
    time.sleep(0.02)
    now = time.time()
    write(folder, "new", "newer")
    assert texts(logs.tail(folder, 100, now)[0]) == ["new", "newer"]
    assert texts(logs.tail(folder, 100, now + 60)[0]) == []


def test_an_answer_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EngineLog(str(folder / "log"), 64 * 2**20, 2)
    log.feed(b"x" * 100 + b"\n")
    log.feed((b"y" * 1000 + b"\n") * 12_000)
    lines, _ = logs.tail(folder, 10**9, None)
    assert 1000 < len(lines) <= logs.MOST_LINES and sum(map(len, lines)) <= logs.MOST_BYTES


def test_words_for_a_message_have_no_times_no_secrets_and_an_end(folder: Path) -> None:
    write(folder, *(f"line {n}" for n in range(50)), "key sk-abcdefghijklmnop", "z" * LINE_LIMIT * 2)
    said = logs.last_words(folder, lines=6, characters=500)
    assert len(said) == 501 and said.startswith("…")
    write(folder, "key sk-abcdefghijklmnop", "the end")
    assert "sk-abcdef" not in logs.last_words(folder) and logs.last_words(folder).endswith("the end")


def test_a_session_without_a_log_has_no_lines(tmp_path: Path) -> None:
    assert logs.tail(tmp_path, 10, None)[0] == [] and logs.last_words(tmp_path) == ""


async def test_following_misses_nothing_while_files_are_rotated(folder: Path) -> None:
    log = write(folder, "before")
    seen: list[str] = []
    over = asyncio.Event()
    lines, position = logs.tail(folder, 10, None)

    async def read() -> None:
        async for piece in logs.follow(folder, position, over.is_set):
            seen.extend(texts(piece.splitlines()))

    reading = asyncio.create_task(read())
    for round_ in range(8):
        for n in range(20):
            log.feed(f"line {round_} {n} {'x' * 50}\n".encode())
        async with asyncio.timeout(10):
            while len(seen) < (round_ + 1) * 20:
                await asyncio.sleep(0.01)
    log.feed(b"unfinished")
    log.flush()
    over.set()
    await asyncio.wait_for(reading, 10)
    assert texts(lines) == ["before"]
    assert [line.split(" x")[0] for line in seen] == [f"line {r} {n}" for r in range(8) for n in range(20)] + ["unfinished"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[str, set[str]]]:
    """Its URL, and the sessions that live."""
    living: set[str] = set()
    made = LogServer("the-key", lambda session: tmp_path / session, living.__contains__, AskedFacts(FactsBook(tmp_path)))
    port = await made.start("127.0.0.1")
    yield f"http://127.0.0.1:{port}", living
    await made.close()


KEY = {"authorization": "Bearer the-key"}


async def test_the_server_answers_who_knows_the_key(server: tuple[str, set[str]], folder: Path) -> None:
    url, _ = server
    write(folder, *(f"line {n}" for n in range(20)))
    async with httpx2.AsyncClient(base_url=url, headers=KEY) as client:
        answer = await client.get("/logs/svc-aaaaa", params={"tail": 3})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert texts(answer.content.splitlines()) == ["line 17", "line 18", "line 19"]
        assert (await client.get("/logs/svc-zzzzz")).status_code == 404
        assert (await client.get("/logs/../svc-aaaaa")).status_code == 404
        assert (await client.get("/logs/svc-aaaaa", params={"tail": "x"})).status_code == 400
        assert (await client.post("/logs/svc-aaaaa")).status_code == 405
        for wrong in ({"authorization": "Bearer other"}, {"authorization": ""}):
            assert (await client.get("/logs/svc-aaaaa", headers=wrong)).status_code == 401


async def test_following_over_http_ends_with_the_session(server: tuple[str, set[str]], folder: Path) -> None:
    url, living = server
    living.add("svc-aaaaa")
    log = write(folder, "first")
    got: list[str] = []
    async with (
        httpx2.AsyncClient(base_url=url, headers=KEY, timeout=10) as client,
        client.stream("GET", "/logs/svc-aaaaa", params={"follow": "1"}) as answer,
    ):
        async for line in answer.aiter_lines():
            got.append(line.split(" ", 1)[1])
            if got == ["first"]:
                log.feed(b"second\n")
            if got == ["first", "second"]:
                living.clear()
    assert got == ["first", "second"]


async def test_too_many_and_too_large_requests_are_refused(server: tuple[str, set[str]], folder: Path) -> None:
    url, living = server
    living.add("svc-aaaaa")
    write(folder, "first")
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /logs/svc-aaaaa HTTP/1.1\r\nx: " + b"y" * 100_000)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    idle = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS)]
    async with httpx2.AsyncClient(headers=KEY) as client:
        assert (await client.get(f"{url}/logs/svc-aaaaa")).status_code == 503
    for _, other in idle:
        other.close()
