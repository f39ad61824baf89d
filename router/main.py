"""One router process: settings, store, mirror, data path, HTTP; and its end.

Life: wait for the store; read everything; listen; serve until SIGTERM, SIGINT or the end of the lifeline. Then /readyz says
no, no connection is taken any more, requests under way get `router_grace_seconds`, and the loops end last.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys

import uvicorn

from router.app import create_app
from router.assembly import build, open_store
from router.context import Context
from router.last_used import LastUsed
from router.listening import announce
from router.processes import Processes
from router.wire.server import Server, protocol
from stoker import lifeline
from stoker.clock import SystemClock
from stoker.errors import ConfigurationError
from stoker.settings import Settings, load
from stoker.telemetry import configure_logging

log = logging.getLogger(__name__)

LIFELINE_GRACE = 1.0
"""Seconds for requests under way when whoever started us is gone."""

_LOOK_SECONDS = 0.005

YOUNG_LIMIT = 20_000
"""Objects made before the cycle collector looks at them: what serves requests leaves no cycles, so it seldom finds any."""


class Stop:
    """Set once it is time to end; `grace` seconds are left for requests under way."""

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.wanted = asyncio.Event()

    def politely(self) -> None:
        self.wanted.set()

    def hurry(self) -> None:
        self.grace = LIFELINE_GRACE
        self.wanted.set()


def main() -> int:
    """The exit code: 0 ended as asked, 1 could not start."""
    try:
        settings = load()
        configure_logging("router", settings.log_format)
        if settings.processes > 1:
            return Processes(settings).run()
        with asyncio.Runner(loop_factory=uvicorn.Config("router", log_config=None).get_loop_factory()) as runner:
            runner.run(run(settings))
    except ConfigurationError as error:
        print(f"stoker router: {error.message}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def run(settings: Settings) -> None:
    """Serve until asked to stop. Raises ConfigurationError."""
    stop, loop = Stop(settings.router_grace_seconds), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.politely)
    lifeline.watch(stop.hurry)
    starting, asked = asyncio.ensure_future(open_store(settings, SystemClock())), asyncio.ensure_future(stop.wanted.wait())
    await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not starting.done():
        starting.cancel()
        return
    store = starting.result()
    try:
        async with build(settings, store, SystemClock()) as (context, listening):
            await serve(context, listening, stop)
    finally:
        await store.close()


async def serve(context: Context, listening: socket.socket, stop: Stop) -> None:
    """Run every loop and the HTTP server; an unexpected end of a loop ends the process."""
    server = Server(
        uvicorn.Config(
            create_app(context),
            http=protocol(context.plane, context.settings.fast_path),
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=round(stop.grace),
        )
    )
    last_used = LastUsed(context.access, context.mirror.tokens, context.store, context.clock)
    async with asyncio.TaskGroup() as group:
        loops = [group.create_task(loop) for loop in (context.mirror.follow(), context.pulse.run(), context.plane.run(), last_used.run())]
        serving = group.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await context.clock.sleep(_LOOK_SECONDS)
        gc.collect()
        gc.freeze()  # what is here now stays to the end, and is not looked at again
        gc.set_threshold(YOUNG_LIMIT, 50, 20)
        announce(listening.getsockname()[1])
        log.info("listening at %s", context.address)
        await stop.wanted.wait()
        context.life.draining = True
        log.info("ending; requests under way have %g s", stop.grace)
        server.stop(stop.grace)
        await serving
        context.plane.stop()
        for loop in loops:
            loop.cancel()
