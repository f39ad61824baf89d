"""Finding out that an engine is ready: by port, by health, by a first answer; and that it never will be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

import pytest

from model_variants.base import FirstAnswer, LaunchPlan
from stoker.clock import SystemClock
from stoker.records import HealthCheck
from stoker.states import Phase
from tests.support.engine import free_port
from tests.support.worker_node import ENGINE
from worker import sockets
from worker.grants import COOLING_SECONDS
from worker.http_probe import NoHttp, ask
from worker.probes import PAUSES, NotReady, StartProbe, owns_port


@contextlib.asynccontextmanager
async def engine(*words: str) -> AsyncIterator[tuple[int, int]]:
    """Port and pid."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, ENGINE, "--port", str(port), *words, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield port, process.pid
    finally:
        process.kill()
        await process.wait()


def probe(port: int, pid: int, phases: list[Phase], *, first: bool = False, **health: object) -> StartProbe:
    check = HealthCheck(**({"path": "/health", "start_timeout": 20.0} | health))  # type: ignore[arg-type]
    plan = LaunchPlan(argv=("x",), health=check, loading_status=503, first_answer=FirstAnswer("/v1/chat", b"{}") if first else None)
    return StartProbe("127.0.0.1", port, plan, "the-key", SystemClock(), lambda: {pid}, phases.append)


async def test_ready_comes_after_the_first_answer_where_one_is_wanted() -> None:
    phases: list[Phase] = []
    async with engine("--load", "0.2") as (port, pid):
        await probe(port, pid, phases, first=True).ready(0.0)
    assert phases == [Phase.WARMING]


async def test_the_session_key_goes_with_the_first_request() -> None:
    async with engine() as (port, pid):
        await probe(port, pid, [], first=True).ready(0.0)
        headers = {"authorization": "Bearer the-key"}
        answer = await ask("127.0.0.1", port, "/v1/chat", method="POST", headers=headers, body=b"{}", read_body=True)
    assert answer.text == '{"authorization": "Bearer the-key"}'


async def test_an_engine_that_is_healthy_and_cannot_answer_is_not_ready() -> None:
    async with engine("--post", "500") as (port, pid):
        with pytest.raises(NotReady) as problem:
            await probe(port, pid, [], first=True).ready(0.0)
    assert problem.value.reason.code == "probe_failed" and "500" in problem.value.reason.message


@pytest.mark.parametrize(
    ("words", "health", "said"),
    [
        (("--load", "60"), {}, "still loading"),
        ((), {"path": "/nothing"}, "GET /nothing answers 404, and 200 is expected"),
        (("--delay", "60"), {}, "nothing listens on its port"),
    ],
)
async def test_a_start_that_takes_too_long_says_what_was_seen_last(words: tuple[str, ...], health: dict[str, object], said: str) -> None:
    async with engine(*words) as (port, pid):
        with pytest.raises(NotReady) as problem:
            await probe(port, pid, [], start_timeout=1.0, **health).ready(0.0)
    assert problem.value.reason.code == "start_timeout" and said in problem.value.reason.message


async def test_the_time_of_an_adopted_start_counts_from_its_beginning() -> None:
    async with engine("--load", "60") as (port, pid):
        with pytest.raises(NotReady, match="not ready within 300 s"):
            async with asyncio.timeout(10):
                await probe(port, pid, [], start_timeout=300.0).ready(299.5)


async def test_whoever_is_not_of_the_session_is_not_asked() -> None:
    async with engine() as (port, _):
        with pytest.raises(NotReady, match="another process listens"):
            await probe(port, os.getpid(), []).ready(0.0)


async def test_what_is_no_http_is_said() -> None:
    async def chatter(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-hello\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NoHttp, match="SSH"):
        await ask("127.0.0.1", port, "/health")
    with pytest.raises(NotReady, match="no HTTP"):
        await probe(port, os.getpid(), [], start_timeout=0.5).ready(0.0)
    server.close()
    await server.wait_closed()


async def test_a_port_has_an_owner() -> None:
    async with engine() as (port, pid):
        await probe(port, pid, []).ready(0.0)
        assert owns_port(port, {pid}) and not owns_port(port, {os.getpid()}) and not owns_port(port, set())
        assert not sockets.can_bind("127.0.0.1", port)
    assert not owns_port(port, {pid}) and sockets.can_bind("127.0.0.1", port)


def test_probes_are_never_further_apart_than_the_promise() -> None:
    assert PAUSES[-1][0] == float("inf") and max(pause for _, pause in PAUSES) < 0.1
    assert COOLING_SECONDS >= 600
