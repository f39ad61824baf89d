"""What a worker measures: its engines' tokens, once and through a change of workers; and what it says of its own health."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from stoker.metrics.catalogue import families
from stoker.records import ServiceRecord
from stoker.store.store import Store
from tests.support.worker_node import WorkerNode
from worker.engine_tokens import PAGE_LIMIT, ask, tokens

PAGE = b"""# HELP vllm:prompt_tokens_total Prompt tokens.
vllm:prompt_tokens_total{model_name="a b",engine="0"} 10.0
vllm:prompt_tokens_total{model_name="a b",engine="1"} 1e+03
vllm:generation_tokens_total 7
vllm:prompt_tokens_total_created 9e9
vllm:generation_tokens_total{x="y"} NaN-ish
"""


def test_the_tokens_of_a_page() -> None:
    assert tokens(PAGE) == {"llm_tokens_total|prompt": 1010, "llm_tokens_total|completion": 7}
    assert tokens(b"") == tokens(b"# nothing\nprocess_cpu_seconds_total 3\n") == {}
    for odd in (b"NaN", b"+Inf", b"-5", b"1e300"):
        assert tokens(b"vllm:prompt_tokens_total " + odd) == {}
    assert tokens(b'tgi_request_generated_tokens_sum 12\nsglang:prompt_tokens_total{a="{ }"} 3') == {
        "llm_tokens_total|completion": 12,
        "llm_tokens_total|prompt": 3,
    }


async def _answering(answer: bytes) -> tuple[asyncio.Server, int]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", PAGE, 2),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", PAGE, 0),
        (b"nonsense\r\n\r\n", PAGE, 0),
        (b"HTTP/1.0 200 OK\r\n\r\n", PAGE + b"#" * PAGE_LIMIT, 0),
    ],
)
async def test_a_page_is_believed_if_it_is_one(head: bytes, body: bytes, expected: int) -> None:
    server, port = await _answering(head + body)
    async with server:
        assert len(await ask("127.0.0.1", port, "/metrics", "k")) == expected


@pytest.fixture
async def node(store: Store, redis_url: str, tmp_path: Path) -> AsyncIterator[WorkerNode]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{free.getsockname()[1]}"
    made = WorkerNode(store, tmp_path, redis_url, health_bind=bind)
    await made.lead()
    yield made
    made.clean()


@pytest.mark.slow
async def test_tokens_are_counted_once_through_a_change_of_workers(node: WorkerNode) -> None:
    record = ServiceRecord(name="mine", project="default", owner="t", spec={"model": "demo"})
    await node.store.services.put(record, model_names=("mine",), new_revision=True, refresh=True, expect_version=None, actor="t")

    async def counted() -> dict[str, int]:
        return (await node.store.figures.read(["mine"]))["mine"]

    async def until(prompt: int) -> None:
        async with asyncio.timeout(40):
            while (await counted()).get("llm_tokens_total|prompt", 0) < prompt:
                await asyncio.sleep(0.05)

    async with httpx2.AsyncClient(trust_env=False, timeout=20) as http:

        async def complete(address: str) -> dict[str, int]:
            answer = await http.post(f"http://{address}/v1/completions", json={"model": "mine", "prompt": "a b c", "max_tokens": 5})
            assert answer.status_code == 200, answer.text
            usage: dict[str, int] = answer.json()["usage"]
            return usage

        async with node.running():
            await node.place("mine-1", variant="demo", spec={"variant": "demo", "command": None})
            session = await node.until("mine-1", "READY")
            assert session.address
            one = await complete(session.address)
            await until(one["prompt_tokens"])
        two = await complete(session.address)
        prompt = one["prompt_tokens"] + two["prompt_tokens"]
        async with node.running():
            await until(prompt)
            await node.drain("mine-1")
            await node.until("mine-1", "STOPPED")
    found = await counted()
    assert found["llm_tokens_total|prompt"] == prompt
    assert found["llm_tokens_total|completion"] == one["completion_tokens"] + two["completion_tokens"]


async def test_a_worker_says_whether_it_is_ready_and_shows_the_clusters_figures(node: WorkerNode) -> None:
    url = f"http://{node.settings.health_bind}"
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as http, node.running():
        await node.registered()
        async with asyncio.timeout(20):
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.02)
        text = (await http.get("/metrics")).text
        assert 'stoker_nodes{status="ready"} 1.0' in text and "stoker_store_up 1.0" in text
        assert all(f"# TYPE stoker_{family.name} " in text for family in families())
