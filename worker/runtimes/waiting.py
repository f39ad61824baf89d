"""Waiting for the end of a process that may not be our child."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

from worker.runtimes.supervisor_files import start_time

_POLL_SECONDS = 0.2


async def process_ended(pid: int, start: int, lives: Callable[[], bool]) -> None:
    """Until the process with that pid and start time is gone; without pidfds, until `lives` says no."""
    if sys.platform != "linux":
        while lives():
            await asyncio.sleep(_POLL_SECONDS)
        return
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_time(pid) == start:
            await _readable(fd)
    finally:
        os.close(fd)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
