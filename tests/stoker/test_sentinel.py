"""A master with a replica under Sentinel: the master is killed, verbs and mirror go on with the replica."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from stoker.errors import ConfigurationError, StoreUnavailable
from stoker.records import TokenRecord
from stoker.store.embedded import find_server
from stoker.store.store import Store
from tests.support.cluster import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, password: str | None = None) -> redis.Redis:
    client = redis.Redis(port=port, password=password)
    for _ in range(1000):
        with contextlib.suppress(redis.ConnectionError):
            client.ping()
            return client
        import time

        time.sleep(0.01)
    raise AssertionError(f"nobody answers on {port}")


@pytest.fixture
def trio() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """(the master's process, the sentinel's port); all of them with the password `pw`."""
    ports = [free_port() for _ in range(3)]
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)

        def start(*words: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([find_server(), *words], stdout=subprocess.DEVNULL, cwd=folder)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        data = ["--requirepass", "pw", "--primaryauth", "pw", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        master = start("--port", str(ports[0]), "--dir", name, "--appenddirname", "one", *data)
        answers(ports[0], "pw")
        start("--port", str(ports[1]), "--dir", name, "--appenddirname", "two", "--replicaof", f"127.0.0.1 {ports[0]}", *data)
        replica = answers(ports[1], "pw")
        while replica.info("replication")["master_link_status"] != "up":
            pass
        (folder / "sentinel.conf").write_text(
            f"port {ports[2]}\nsentinel monitor main 127.0.0.1 {ports[0]} 1\nsentinel auth-pass main pw\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        )
        start(str(folder / "sentinel.conf"), "--sentinel")
        sentinel = answers(ports[2])
        while not sentinel.execute_command("SENTINEL", "REPLICAS", "main"):
            pass
        replica.close()
        sentinel.close()
        yield master, ports[2]


async def test_a_failover_is_an_outage_of_seconds(trio: tuple[subprocess.Popen[bytes], int]) -> None:
    master, port = trio
    url = f"redis+sentinel://:pw@127.0.0.1:{port}/main"
    with pytest.raises(ConfigurationError, match="refuses this user or password"):
        await Store.open(url.replace(":pw", ":wrong"), "t")
    with pytest.raises(StoreUnavailable):
        await Store.open(url.replace("/main", "/other"), "t")
    store = await Store.open(url, "t")
    identity = await store.id()
    mirror = store.mirror("token")
    await mirror.open()
    task = asyncio.create_task(mirror.follow())
    await store.tokens.put(TokenRecord(id="t0", hash="h"))
    await store.database.client.wait(1, 5000)
    master.kill()
    await until(mirror, lambda: not mirror.connected)
    assert "t0" in mirror.tokens
    async with asyncio.timeout(60):
        while True:
            try:
                await store.tokens.put(TokenRecord(id="t1", hash="h"))
                break
            except StoreUnavailable:
                await asyncio.sleep(0.1)
    await until(mirror, lambda: mirror.connected and "t1" in mirror.tokens)
    assert sorted(await store.tokens.all()) == sorted(mirror.tokens) == ["t0", "t1"]
    assert await store.id() == identity
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()
