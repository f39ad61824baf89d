"""Puts the scheduler together: settings, store, mirror, lease, loop and doorbell; ends on SIGTERM, SIGINT or with its parent."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys

from model_variants.registry import load_variants
from scheduler.leader import Leader
from scheduler.loop import Answer, Loop
from scheduler.observer import Observer
from stoker import lifeline
from stoker import settings as settings_module
from stoker.clock import SystemClock
from stoker.doorbell import BellWorker
from stoker.errors import StokerError, StoreUnavailable
from stoker.metrics.cluster import ClusterFigures
from stoker.settings import Settings
from stoker.store.mirror import Mirror
from stoker.store.store import Store
from stoker.telemetry import configure_logging, serve_health

log = logging.getLogger(__name__)

_OPEN_TRIES, _OPEN_PAUSE = 60, 1.0


def main() -> int:
    """Run until told to end. 0 when asked to, 1 with one sentence when it cannot start."""
    try:
        settings = settings_module.load()
        configure_logging("scheduler", settings.log_format)
        asyncio.run(run(settings))
    except StokerError as error:
        print(f"scheduler: {error.message}", file=sys.stderr)  # noqa: T201 - the last word of a process without a log reader
        return 1
    return 0


async def run(settings: Settings) -> None:
    """Raises ConfigurationError or StoreUnavailable at the start; later it lives through any loss of the store."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    lifeline.watch(stop.set)
    store = await open_store(settings, stop)
    if store is None:
        return
    try:
        await _serve(settings, store, stop)
    finally:
        await store.close()


async def open_store(settings: Settings, stop: asyncio.Event) -> Store | None:
    """The store, which may take a while to come up; None if told to end meanwhile."""
    for remaining in range(_OPEN_TRIES, 0, -1):
        try:
            return await Store.open(settings.store_url(), settings.cluster)
        except StoreUnavailable as error:
            if remaining == 1:
                raise
            log.warning("%s; trying again", error.message)
        try:
            async with asyncio.timeout(_OPEN_PAUSE):
                await stop.wait()
            return None
        except TimeoutError:
            continue
    return None


async def _serve(settings: Settings, store: Store, stop: asyncio.Event) -> None:
    clock = SystemClock()
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    leader = Leader(holder, settings.leader_lease_seconds, lambda: Store.open(settings.store_url(), settings.cluster), clock)
    mirror = store.mirror("service", "session", "node")
    await mirror.open()

    async def bell(answer: Answer) -> None:
        await BellWorker(store, answer).main()

    planner = Loop(
        store, mirror, leader, Observer(store, mirror, settings, clock), load_variants(), bell, clock, tick=settings.scheduler_tick_seconds
    )
    health = await _health(settings, store, mirror, leader) if settings.health_bind else None
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(mirror.follow()), tasks.create_task(planner.run())]
            log.info("the scheduler %s follows", holder)
            await stop.wait()
            for task in running:
                task.cancel()
    finally:
        await asyncio.to_thread(leader.stop)
        if health is not None:
            health.close()


async def _health(settings: Settings, store: Store, mirror: Mirror, leader: Leader) -> asyncio.Server:
    """Ready while its copy of the store is kept fresh and it can try for the lease, whether it leads or stands by."""
    figures = ClusterFigures(store, mirror, settings, SystemClock())
    return await serve_health(
        settings.health_bind or "", figures.registry, lambda: mirror.connected and leader.failure is None, figures.look
    )
