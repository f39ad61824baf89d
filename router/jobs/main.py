"""Puts a runner of jobs together: settings, store, mirror, runner, webhooks; ends on SIGTERM, SIGINT or with its parent."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys

from prometheus_client import CollectorRegistry, Gauge

from router.jobs.predecessors import Roll, take_over
from router.jobs.reach import allowed
from router.jobs.runner import Runner
from router.jobs.webhooks import Postman
from stoker import lifeline
from stoker import settings as settings_module
from stoker.clock import Clock, SystemClock
from stoker.doorbell import RUNNERS, Doorbell
from stoker.errors import StokerError, StoreUnavailable
from stoker.keyring import read_key, runner_key
from stoker.settings import Settings
from stoker.store.mirror import Mirror
from stoker.store.store import Store
from stoker.telemetry import configure_logging, serve_health

log = logging.getLogger(__name__)

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)


def main() -> int:
    """Run until told to end. 0 when asked to, 1 with one sentence when it cannot start."""
    try:
        settings = settings_module.load()
        configure_logging("runner", settings.log_format)
        asyncio.run(run(settings))
    except StokerError as error:
        print(f"runner: {error.message}", file=sys.stderr)  # noqa: T201 - the last word of a process without a log reader
        return 1
    return 0


async def run(settings: Settings) -> None:
    """Raises ConfigurationError at the start; it waits for the store as long as it takes, and lives through any loss of it."""
    loop, clock = asyncio.get_running_loop(), SystemClock()
    work = asyncio.ensure_future(_work(settings, clock))

    def stop() -> None:
        work.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    lifeline.watch(stop)
    try:
        await work
    except asyncio.CancelledError:
        log.info("the runner ends")


async def _work(settings: Settings, clock: Clock) -> None:
    store, mirror = await _open(settings, clock)
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    key, letters = read_key(settings.key_file(), create=settings.secret_key_file is None), asyncio.Event()
    roll = Roll(settings.data_dir / "runners")
    roll.sign(name)
    runner = Runner(name, store, mirror, runner_key(key), clock, settings.runner_jobs_limit, letters)
    postman = Postman(store, key, allowed(settings), clock, letters)
    health = await serve_health(settings.health_bind, _registry(runner)) if settings.health_bind else None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(mirror.follow())
            group.create_task(postman.run())
            group.create_task(_take_over(store, roll, clock))
            log.info("the runner %s takes jobs", name)
            await runner.run()
    finally:
        roll.strike()
        await store.close()
        if health is not None:
            health.close()


async def _take_over(store: Store, roll: Roll, clock: Clock) -> None:
    while True:
        try:
            count = await take_over(store.jobs, roll)
        except StoreUnavailable:
            await clock.sleep(0.2)
        else:
            if count:
                log.warning("%d jobs of runners that died go on here", count)
                await Doorbell(store, RUNNERS).ring("")
            return


async def _open(settings: Settings, clock: Clock) -> tuple[Store, Mirror]:
    """The store and a first copy of what is needed of it. Raises ConfigurationError."""
    failures = 0
    while True:
        try:
            store = await Store.open(settings.store_url(), settings.cluster)
            mirror = store.mirror("service", "session")
            try:
                await mirror.open()
            except StoreUnavailable:
                await store.close()
                raise
            return store, mirror
        except StoreUnavailable as error:
            if failures in (0, len(_PAUSES)):
                log.warning("%s; trying on", error.message)
            await clock.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1


def _registry(runner: Runner) -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("stoker_runner_jobs", "Jobs that this runner has under way.", registry=registry).set_function(lambda: float(runner.held))
    return registry
