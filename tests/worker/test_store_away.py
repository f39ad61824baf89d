"""While the store is away sessions run on, and what happened meanwhile is told when it is back."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from stoker.store.embedded import EmbeddedServer
from stoker.store.store import Store
from tests.support.worker_node import DEADLINE, WorkerNode


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as folder:
        made = EmbeddedServer(Path(folder))
        await made.start()
        yield made
        await made.stop()


@pytest.fixture
async def lone(server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[WorkerNode]:
    """A node whose store can be taken away."""
    store = await Store.open(server.url, "alone")
    node = WorkerNode(store, tmp_path, server.url)
    await node.lead()
    yield node
    node.clean()
    await store.close()


async def test_sessions_run_on_and_what_happened_is_told_later(server: EmbeddedServer, lone: WorkerNode) -> None:
    async with lone.running():
        await lone.place("svc-aaaaa")
        await lone.place("svc-bbbbb", "--load", "1.5")
        await lone.place("svc-ccccc")
        ready = await lone.until("svc-aaaaa", "READY")
        doomed = await lone.until("svc-ccccc", "READY")
        await lone.until("svc-bbbbb", "STARTING")
        assert server.pid and doomed.pid
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        os.kill(doomed.pid, signal.SIGKILL)
        await asyncio.sleep(2)  # svc-bbbbb becomes ready meanwhile
        assert httpx2.get(f"http://{ready.address}/health").status_code == 200
        await server.start()
        async with asyncio.timeout(DEADLINE):
            failed = await lone.when("svc-ccccc", lambda s: s.status == "FAILED")
            second = await lone.until("svc-bbbbb", "READY")
        assert failed.reason is not None and "SIGKILL" in failed.reason.message
        assert second.address and (await lone.session("svc-aaaaa")).pid == ready.pid


async def test_a_drain_is_finished_by_time_while_the_store_is_away(server: EmbeddedServer, lone: WorkerNode) -> None:
    async with lone.running():
        await lone.place("svc-aaaaa")
        ready = await lone.until("svc-aaaaa", "READY")
        await lone.store.routers.beat("r1", {})
        await lone.drain("svc-aaaaa", until=await lone.store.time() + 1.0)
        await asyncio.sleep(0.3)
        await server.stop()
        async with asyncio.timeout(DEADLINE):
            while ready.pid and Path(f"/proc/{ready.pid}").exists():
                await asyncio.sleep(0.02)
        await server.start()
        await lone.until("svc-aaaaa", "STOPPED")


async def test_a_worker_that_starts_without_a_store_waits_for_it(server: EmbeddedServer, lone: WorkerNode) -> None:
    await server.stop()
    async with lone.running():
        await asyncio.sleep(0.5)
        await server.start()
        await lone.registered()
