"""One worker process: settings, the node's lock, the store, the agent; and its end, which leaves sessions running."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from stoker import keyring, lifeline
from stoker.clock import Clock, SystemClock
from stoker.errors import ConfigurationError, StoreUnavailable
from stoker.settings import Settings, load
from stoker.store.store import Store
from stoker.telemetry import configure_logging, serve_health
from worker.agent import Agent
from worker.asked_facts import AskedFacts
from worker.devices.detect import detect
from worker.journal import Journal
from worker.log_server import LogServer
from worker.machine import node_name
from worker.model_facts import FactsBook
from worker.node import Node
from worker.runtimes.process import ProcessRuntime

log = logging.getLogger(__name__)

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
_LOCK_SECONDS = 10.0
"""How long a worker waits for its predecessor to end."""


def main() -> int:
    """The exit code: 0 ended as asked, 1 could not start or go on."""
    try:
        settings = load()
        configure_logging("worker", settings.log_format)
        asyncio.run(run(settings))
    except ConfigurationError as error:
        print(f"stoker worker: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def run(settings: Settings, clock: Clock | None = None) -> None:
    """Work until SIGTERM, SIGINT or the end of the lifeline. Raises ConfigurationError."""
    clock = clock or SystemClock()
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    lifeline.watch(stopped.set)
    working = asyncio.create_task(_work(settings, clock))
    asked = asyncio.create_task(stopped.wait())
    await asyncio.wait((working, asked), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if stopped.is_set() and not working.done():
        working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def _work(settings: Settings, clock: Clock) -> None:
    name = node_name(settings.node_name)
    folder = settings.data_dir.absolute() / "nodes" / name
    async with _locked(folder, name, clock):
        store = await _open_store(settings, clock)
        try:
            with _node(settings, store, folder, name, clock) as node:
                await _serve(node)
        finally:
            await store.close()


async def _serve(node: Node) -> None:
    key = keyring.worker_key(node.cluster_key, node.name)
    book = FactsBook(node.settings.models_dir())
    logs = LogServer(key, node.runtime.folder, lambda session: node.journal.live(session) is not None, AskedFacts(book))
    port = await logs.start(node.host)
    try:
        agent = Agent(node, f"http://{node.address(port)}", book)
        async with _health(node, agent):
            await agent.run()
    finally:
        await logs.close()


@contextlib.asynccontextmanager
async def _health(node: Node, agent: Agent) -> AsyncIterator[None]:
    """/healthz, /readyz and /metrics where STOKER_HEALTH_BIND says."""
    if not node.settings.health_bind:
        yield
        return
    from stoker.metrics.cluster import ClusterFigures

    figures = ClusterFigures(node.store, node.mirror, node.settings, node.clock)
    server = await serve_health(node.settings.health_bind, figures.registry, lambda: agent.is_ready, figures.look)
    try:
        yield
    finally:
        server.close()


@contextlib.contextmanager
def _node(settings: Settings, store: Store, folder: Path, name: str, clock: Clock) -> Iterator[Node]:
    devices = detect(settings.mock_gpus)
    try:
        journal = Journal.open(folder / "journal")
        if settings.session_user:
            _let_through(settings.data_dir.absolute(), folder / "sessions")
        runtime = ProcessRuntime(
            folder / "sessions", name, user=settings.session_user, log_limit=settings.log_file_limit, log_files=settings.log_files_kept
        )
        yield Node(
            name=name,
            folder=folder,
            settings=settings,
            clock=clock,
            store=store,
            mirror=store.mirror("service", "session"),
            journal=journal,
            runtime=runtime,
            devices=devices,
            cluster_key=keyring.read_key(settings.key_file(), create=settings.secret_key_file is None),
        )
    except OSError as error:
        raise ConfigurationError(f"the node's directory {folder} cannot be used: {error.strerror or error}") from error
    finally:
        devices.close()


def _let_through(data: Path, sessions: Path) -> None:
    """The sessions' user may pass to its own directories, and list nothing on the way."""
    sessions.mkdir(parents=True, exist_ok=True)
    for path in (sessions, *sessions.parents):
        path.chmod(path.stat().st_mode | 0o001)
        if path == data:
            return


@contextlib.asynccontextmanager
async def _locked(folder: Path, name: str, clock: Clock) -> AsyncIterator[None]:
    """Two workers of one node would each have a journal in memory, and give everything away twice."""
    try:
        os.makedirs(folder, exist_ok=True)
        lock = os.open(folder / "worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"the node's directory {folder} cannot be used: {error.strerror}") from error
    try:
        deadline = clock.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock.monotonic() > deadline:
                    raise ConfigurationError(f"another worker of the node {name} runs; give this one another STOKER_NODE_NAME") from None
                await clock.sleep(_PAUSES[1])
        yield
    finally:
        os.close(lock)


async def _open_store(settings: Settings, clock: Clock) -> Store:
    """However long it takes to come. Raises ConfigurationError."""
    attempt = 0
    while True:
        try:
            return await Store.open(settings.store_url(), settings.cluster)
        except StoreUnavailable as error:
            if attempt in (0, len(_PAUSES)):
                log.warning("%s; trying on", error.message)
            await clock.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
            attempt += 1
