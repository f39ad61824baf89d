"""A real store for every test: one server per test run, one cluster id per test, so nothing needs to be flushed."""

from __future__ import annotations

import secrets
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stoker.store.embedded import EmbeddedServer, find_server
from stoker.store.store import Store


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """unix:// URL of a server of this test run's own; it keeps nothing on disk, which is faster than what `up` starts."""
    with tempfile.TemporaryDirectory(prefix="stoker-redis-", dir="/tmp") as folder:
        socket = Path(folder) / "redis.sock"
        command = [find_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not socket.exists():
            assert server.poll() is None and time.monotonic() < deadline, "the store did not start"
            time.sleep(0.01)
        yield f"unix://{socket}"
        server.terminate()
        server.wait(30)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """An empty cluster on the shared server."""
    opened = await Store.open(redis_url, f"t{secrets.token_hex(4)}")
    yield opened
    await opened.close()


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedServer]:
    """A started server of the test's own, durable, which may be killed and started again."""
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as folder:
        server = EmbeddedServer(Path(folder))
        await server.start()
        yield server
        await server.stop()
