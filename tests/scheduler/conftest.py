"""A scheduler in this process, and schedulers as processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from model_variants.registry import load_variants
from scheduler.leader import Leader
from scheduler.loop import Answer, Loop
from scheduler.observer import Observer
from stoker.clock import SystemClock
from stoker.doorbell import BellWorker
from stoker.settings import Settings
from stoker.store.store import Store


@pytest.fixture
async def scheduler(store: Store, redis_url: str) -> AsyncIterator[Leader]:
    """Runs until the end of the test; its leader."""
    settings, clock, cluster = Settings(redis_url=redis_url), SystemClock(), store.database.keys.cluster
    leader = Leader("here", settings.leader_lease_seconds, lambda: Store.open(redis_url, cluster), clock)
    mirror = store.mirror("service", "session", "node")
    await mirror.open()

    async def bell(answer: Answer) -> None:
        await BellWorker(store, answer).main()

    loop = Loop(store, mirror, leader, Observer(store, mirror, settings, clock), load_variants(), bell, clock, tick=1.0)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(mirror.follow()), tasks.create_task(loop.run())]
        try:
            yield leader
        finally:
            for task in running:
                task.cancel()
            await asyncio.to_thread(leader.stop)


@pytest.fixture
def start_scheduler(store: Store, redis_url: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`start_scheduler()` starts `python -m scheduler` for the test's cluster; whatever still runs is ended with the test."""
    started: list[subprocess.Popen[bytes]] = []
    words = {"STOKER_REDIS_URL": redis_url, "STOKER_CLUSTER": store.database.keys.cluster}

    def start(**more: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "scheduler"], env={**os.environ, **words, **more}, stderr=subprocess.DEVNULL)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait(10)
