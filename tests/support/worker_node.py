"""A node for tests: a real worker (in this process, or one of its own) on a real store, and a scheduler's hand to place sessions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from stoker.records import Assignment, DeviceShare, HealthCheck, NodeRecord, Reason, Resolution, SessionRecord
from stoker.settings import Settings
from stoker.states import SessionStatus
from stoker.store.store import Store
from worker.main import run

ENGINE = str(Path(__file__).with_name("engine.py"))
DEADLINE = 30.0


def _ports() -> str:
    """Each process of the test run has its own ports: the same session id would ask for the same one."""
    first = 30_000 + 500 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return f"{first}-{first + 499}"


class WorkerNode:
    """`node` is its name, `folder` its directory. Sessions are placed by `place`, watched by `until`."""

    def __init__(self, store: Store, data_dir: Path, redis_url: str, **settings: Any) -> None:
        self.store, self.data_dir, self.node = store, data_dir, "n1"
        self.settings = Settings(
            redis_url=redis_url,
            data_dir=data_dir,
            cluster=store.database.keys.cluster,
            node_name=self.node,
            node_beat_seconds=0.5,
            port_range=_ports(),
            **settings,
        )
        self.folder = data_dir / "nodes" / self.node
        self.epoch = 0
        self.process: subprocess.Popen[bytes] | None = None

    async def lead(self) -> None:
        self.epoch = (await self.store.leadership.claim("test", 600)).epoch

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The worker in this event loop."""
        task = asyncio.create_task(run(self.settings))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def spawn(self) -> subprocess.Popen[bytes]:
        """The worker as a process of its own, to be killed."""
        log = (self.data_dir / "worker.log").open("ab")
        words = {
            "STOKER_REDIS_URL": str(self.settings.redis_url),
            "STOKER_DATA_DIR": str(self.data_dir),
            "STOKER_CLUSTER": self.settings.cluster,
            "STOKER_NODE_NAME": self.node,
            "STOKER_PORT_RANGE": self.settings.port_range,
            "STOKER_NODE_BEAT_SECONDS": "0.5",
        }
        with log:
            self.process = subprocess.Popen([sys.executable, "-m", "worker"], env={**os.environ, **words}, stderr=log, stdout=log)
        return self.process

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)

    async def place(
        self, id: str, *engine: str, health: HealthCheck | None = None, gpus: tuple[DeviceShare, ...] = (), port: int | None = None,
        memory: int = 256 * 2**20, command: tuple[str, ...] | None = None, spec: dict[str, Any] | None = None,
        variant: str = "command", runtime: str = "process", **resolution: Any,
    ) -> SessionRecord:  # fmt: skip
        """PENDING, then PLACED on this node: the test engine with these words, by the variant `command`."""
        argv = command or (sys.executable, ENGINE, "--port", "{port}", *engine)
        words = {"name": id.rpartition("-")[0], "model": "demo", "variant": "command", "command": list(argv), **(spec or {})}
        check = health or HealthCheck(path="/health", start_timeout=20.0)
        chosen = Resolution(
            variant=variant, why="", runtime=runtime, health=check, memory=memory, port=port, model_names=(words["name"],), **resolution
        )
        record = SessionRecord(id=id, service=str(words["name"]), project="default", revision=1, status=SessionStatus.PENDING)
        await self.store.sessions.create(record, epoch=self.epoch)
        assignment = Assignment(revision=1, resolution=chosen, spec=words, gpus=gpus)
        await self.store.sessions.place(record, self.node, assignment, epoch=self.epoch)
        return record

    async def drain(self, id: str, until: float = 0.0) -> None:
        session = await self.session(id)
        await self.store.sessions.drain(session, Reason("stopped_by_user", "the test says so"), until, epoch=self.epoch)

    async def session(self, id: str) -> SessionRecord:
        found = await self.store.sessions.get(id)
        assert found is not None, f"{id} is unknown"
        return found

    async def until(self, id: str, *statuses: str) -> SessionRecord:
        """The record once it has one of these statuses; a session that ended otherwise fails the test at once."""
        return await self.when(id, lambda s: s.status in statuses, fatal=lambda s: s.status in ("FAILED", "STOPPED"))

    async def when(
        self, id: str, good: Callable[[SessionRecord], object], fatal: Callable[[SessionRecord], object] = lambda _: False
    ) -> SessionRecord:
        async with asyncio.timeout(DEADLINE):
            while True:
                found = await self.session(id)
                if good(found):
                    return found
                assert not fatal(found), msgspec.to_builtins(found)
                await asyncio.sleep(0.01)

    async def registered(self, good: Callable[[NodeRecord], object] = lambda _: True) -> NodeRecord:
        async with asyncio.timeout(DEADLINE):
            while (found := await self.store.nodes.get(self.node)) is None or not good(found):
                await asyncio.sleep(0.02)
            return found

    def clean(self) -> None:
        """Nothing of a test outlives it."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for pid in processes_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        remove_cgroups(self.folder)


def remove_cgroups(folder: Path) -> None:
    """Of sessions below `folder` that nobody ended in an orderly way; their processes may take a moment to be gone."""
    for listed in folder.rglob("cgroups"):
        for line in listed.read_text().splitlines():
            for _ in range(100):
                try:
                    Path(line).rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
            with contextlib.suppress(OSError):
                Path(line).parent.rmdir()


def processes_of(folder: Path) -> list[int]:
    """Every process that carries something of this directory in its environment or command line, ours apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if str(folder).encode() + b"/" in words and state not in (b"Z", b"X"):
            found.append(int(entry.name))
    return found
