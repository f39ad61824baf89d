"""A service started by `stoker up` ends when `up` is gone, however it went: the pipe they share reads as ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

VARIABLE = "STOKER_LIFELINE_FD"
"""Names the inherited read end; unset for a service that runs on its own."""


def watch(on_end: Callable[[], None]) -> None:
    """Call `on_end` once, on the running loop, when the parent is gone. Does nothing without a parent."""
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return
    fd, loop = int(number), asyncio.get_running_loop()
    os.set_inheritable(fd, False)

    def ended() -> None:
        if os.read(fd, 1) == b"":
            loop.remove_reader(fd)
            os.close(fd)
            on_end()

    loop.add_reader(fd, ended)
