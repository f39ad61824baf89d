"""What is refused or warned of at the start, and URLs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from stoker.errors import ConfigurationError, StoreUnavailable
from stoker.store.checks import Finding, _durability, _kind, _memory, inspect, refuse_unsafe
from stoker.store.connection import address, check_url, connect, hosts
from stoker.store.embedded import EmbeddedServer
from stoker.store.store import Store


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("redis://store.example:6379/0", "has no password"),
        ("rediss://10.0.0.1", "has no password"),
        ("redis+sentinel://127.0.0.1,10.0.0.2/main", "10.0.0.2 is another machine's"),
        ("redis+sentinel://localhost", "names no master"),
        ("http://localhost", "must be redis://"),
        ("localhost:6379", "must be redis://"),
        ("unix://redis.sock", "must be redis://"),
        ("redis://localhost:notaport", "no HOST:PORT"),
        ("redis://localhost/0?decode_responses=true", "decode_responses is Stoker's"),
        ("redis://localhost/0?protocol=3", "protocol is Stoker's"),
        ("redis://localhost/0?db=x", "cannot be used"),
    ],
)
async def test_a_url_that_cannot_work_or_is_unsafe_is_refused_before_anything_is_sent(url: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word) as info:
        await Store.open(url, "t")
    assert "\n" not in info.value.message


@pytest.mark.parametrize(
    "url",
    ["redis://localhost", "redis://127.1.2.3:7/1", "redis://[::1]:7", "redis://:pw@store.example", "rediss://u:pw@store.example:7/0",
     "unix:///run/redis.sock", "unix:///run/redis.sock?db=2", "redis+sentinel://:pw@a,b:7/main/2"],
)  # fmt: skip
async def test_a_url_that_can_work_is_taken(url: str) -> None:
    check_url(url)
    await connect(url).close()


def test_hosts_and_shown_addresses() -> None:
    assert hosts(urlsplit("redis+sentinel://u:p@a,b:7/main")) == [("a", 26379), ("b", 7)]
    assert hosts(urlsplit("redis+sentinel://u:p@[::1]:8/main")) == [("::1", 8)]
    assert address("redis://user:secret@store.example:6379/0?x=secret") == "redis://store.example:6379/0"


async def test_a_password_that_is_missing_or_wrong_is_a_sentence(embedded: EmbeddedServer) -> None:
    store = await Store.open(embedded.url, "t")
    await store.database.client.config_set("requirepass", "se/cret")
    for url in (embedded.url, embedded.url.replace("unix://", "unix://:wrong@")):
        with pytest.raises(ConfigurationError, match="refuses this user or password") as info:
            await Store.open(url, "t")
        assert "wrong" not in info.value.message
    right = await Store.open(embedded.url.replace("unix://", f"unix://:{quote('se/cret', safe='')}@"), "t")
    assert await right.id() == await right.id()
    await store.database.client.connection_pool.disconnect()
    with pytest.raises(StoreUnavailable, match="password"):  # changed while running: an outage, not an end
        await store.id()
    await right.database.client.config_set("requirepass", "")
    await right.close()
    await store.close()


async def test_nobody_there_names_the_address_without_secrets() -> None:
    with pytest.raises(StoreUnavailable, match=r"no store answers at redis://127.0.0.1:1: ") as info:
        await Store.open("redis://:secret@127.0.0.1:1", "t")
    assert "secret" not in info.value.message


async def test_a_store_without_a_file_is_warned_of_and_can_be_used(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    found = await refuse_unsafe(store.database)
    assert [finding.level for finding in found] == ["warning"] and "appendonly yes" in found[0].message
    assert "appendonly is off" in caplog.text


async def test_what_the_server_is_set_to_is_judged(embedded: EmbeddedServer) -> None:
    store = await Store.open(embedded.url, "t")
    client = store.database.client
    await client.config_set("appendfsync", "everysec")
    assert await inspect(store.database) == [
        Finding("warning", "appendfsync is everysec: if it is killed, the last second may be lost; set appendfsync always")
    ]
    await client.config_set("maxmemory-policy", "allkeys-lru")
    assert [finding.level for finding in await inspect(store.database)] == ["warning", "warning"]
    await client.config_set("maxmemory", 2**30)
    with pytest.raises(ConfigurationError, match="throws data away"):
        await Store.open(embedded.url, "t")
    await client.config_set("maxmemory-policy", "noeviction")
    await client.acl_setuser("app", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-config"])
    managed = await Store.open(embedded.url.replace("unix://", "unix://app:x@"), "t")
    assert ["does not let Stoker read its configuration" in f.message for f in await inspect(managed.database)] == [True]
    await managed.close()
    await store.close()


async def test_data_of_a_newer_version_is_refused(store: Store) -> None:
    await store.database.client.set(store.database.keys.schema(), 2)
    with pytest.raises(ConfigurationError, match="newer Stoker"):
        await Store.open(store.url, store.database.keys.cluster)


async def test_a_replica_is_refused(embedded: EmbeddedServer) -> None:
    store = await Store.open(embedded.url, "t")
    await store.database.client.replicaof("127.0.0.1", "1")
    with pytest.raises(ConfigurationError, match="replica"):
        await Store.open(embedded.url, "t")
    await store.database.client.replicaof("NO", "ONE")
    await store.close()


async def test_a_cluster_is_refused() -> None:
    import subprocess

    from stoker.store.embedded import find_server
    from stoker.store.inline import say

    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as folder:
        socket = Path(folder) / "s"
        command = [find_server(), "--cluster-enabled", "yes", "--port", "0", "--unixsocket", str(socket), "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            while not await say(socket, "PING"):
                if server.poll() is not None:
                    pytest.skip("this build has no cluster mode without a port")
            with pytest.raises(ConfigurationError, match="Redis Cluster"):
                await Store.open(f"unix://{socket}", "t")
        finally:
            server.kill()
            server.communicate()


def test_versions_are_compared_as_numbers() -> None:
    assert [f.level for f in _kind({"redis_version": "6.0.16", "cluster_enabled": 0})] == ["error"]
    assert _kind({"redis_version": "6.2.0"}) == _kind({"redis_version": "10.0.1"}) == []
    assert _kind({"redis_version": "1.0", "valkey_version": "8.0.1"}) == []
    assert len(_kind({"redis_version": "5.0", "cluster_enabled": 1, "role": "slave"})) == 3


def test_a_file_that_cannot_be_written_is_an_error() -> None:
    assert [f.level for f in _durability({"aof_enabled": 1, "aof_last_write_status": "err"}, "always")] == ["error"]
    assert _durability({"aof_enabled": 1, "aof_last_write_status": "ok"}, "always") == []
    assert _memory({}) == []
