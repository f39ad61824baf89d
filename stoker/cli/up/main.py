"""From options to a running platform: signals in, sentences out."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import stoker
from stoker.cli.up.happenings import follow
from stoker.cli.up.options import Options
from stoker.cli.up.supervisor import Supervisor
from stoker.clock import SystemClock
from stoker.errors import ConfigurationError


class Wish:
    """What signals asked for. SIGTERM, SIGINT and SIGHUP are `down`, SIGUSR1 is `down --keep-sessions`; a second one forces."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.again = asyncio.Event()
        self.keep_sessions = False

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._ask, False)
        loop.add_signal_handler(signal.SIGUSR1, self._ask, True)

    def _ask(self, keep: bool) -> None:
        if self.end.is_set():
            self.again.set()
        self.keep_sessions = keep
        self.end.set()


async def main(options: Options) -> int:
    """The exit status: 0 after a `down`, 1 where the start failed, with one sentence on stderr or to the caller."""
    wish = Wish()
    wish.listen()
    supervisor = Supervisor(options, dict(os.environ), SystemClock(), tell)
    try:
        up = await _start(supervisor, wish)
    except ConfigurationError as error:
        _report_failure(options, error.message)
        return 1
    if up is None:
        return 130
    _report_start(options, up)
    await _keep(supervisor, wish, options)
    return 0


async def _start(supervisor: Supervisor, wish: Wish) -> dict[str, Any] | None:
    """What the supervisor says of its start; None where a signal came first."""
    starting, ending = asyncio.create_task(supervisor.start()), asyncio.create_task(wish.end.wait())
    try:
        await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
        return starting.result() if starting.done() else None
    finally:
        starting.cancel()
        ending.cancel()
        await asyncio.gather(starting, ending, return_exceptions=True)


async def _keep(supervisor: Supervisor, wish: Wish, options: Options) -> None:
    async with asyncio.TaskGroup() as group:
        keeping = [group.create_task(supervisor.keep())]
        if options.status_fd is None and not options.json:
            keeping.append(group.create_task(follow(supervisor.caller, SystemClock(), tell)))
        await wish.end.wait()
        if not wish.keep_sessions:
            if options.status_fd is None:
                tell("draining; Ctrl-C again ends it at once")
            await _drain(supervisor, wish)
        for task in keeping:
            task.cancel()
    await supervisor.stop()
    tell("stopped" + ("; sessions run on" if wish.keep_sessions else ""))


async def _drain(supervisor: Supervisor, wish: Wish) -> None:
    draining = supervisor.draining()
    async with asyncio.TaskGroup() as group:
        forcing = group.create_task(_force(wish, draining.force))
        await draining.drain()
        forcing.cancel()


async def _force(wish: Wish, force: Callable[[], None]) -> None:
    await wish.again.wait()
    force()


def tell(sentence: str) -> None:
    """For whoever watches: the terminal, or DATA/logs/up.log."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with contextlib.suppress(OSError):
        print(f"{now} {sentence}", file=sys.stderr, flush=True)  # noqa: T201


def _report_start(options: Options, up: dict[str, object]) -> None:
    if options.status_fd is not None:
        _answer(options.status_fd, {"up": up})
    elif options.json:
        print(json.dumps(up), flush=True)  # noqa: T201
    else:
        print(_banner(up), flush=True)  # noqa: T201


def _banner(up: dict[str, object]) -> str:
    return (
        f"Stoker {stoker.__version__} runs at {up['url']} (data in {up['data_dir']})\n"
        "In another terminal: stoker serve demo; stoker status. Ctrl-C here drains and stops it."
    )


def _report_failure(options: Options, sentence: str) -> None:
    if options.status_fd is not None:
        _answer(options.status_fd, {"error": sentence})
    else:
        print(f"stoker: {sentence}", file=sys.stderr, flush=True)  # noqa: T201


def _answer(fd: int, message: dict[str, object]) -> None:
    """Tell who started us; it may be gone already."""
    with contextlib.suppress(OSError):
        os.write(fd, json.dumps(message).encode() + b"\n")
    os.close(fd)
