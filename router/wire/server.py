"""uvicorn's server with the router's protocol, its clock, and an end that loses no request.

The end: no new connections are taken, those that are there are told `connection: close` with each answer for a while, then
idle ones are closed; requests under way have the rest of the grace; what is left then is ended with a word by its exchange.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.flow_control import CLOSE_HEADER

from router.wire.fast import FastProtocol
from router.wire.guard import Guard

if TYPE_CHECKING:
    from router.plane import Plane

log = logging.getLogger(__name__)

KNOWN_UVICORN = "0.54.0"
"""Whose protocol the guard extends."""

CLOSING_SECONDS = 1.0
"""How long kept connections may still be used after the listener is closed, so that no request meets a closed one."""

_TICKS = 10
"""uvicorn calls `on_tick` ten times a second."""


def protocol(plane: Plane, fast: bool) -> Any:
    """What uvicorn's setting `http` takes: a maker of guarded protocols; `fast`: with the fast driver.

    With a uvicorn that this was not tested with, its own protocol: everything works, without limits and more slowly.
    """
    if uvicorn.__version__ != KNOWN_UVICORN:
        log.warning("uvicorn %s is not %s: requests are served without the guard and the fast path", uvicorn.__version__, KNOWN_UVICORN)
        return "httptools"
    return partial(FastProtocol, plane, fast)


class Server(uvicorn.Server):
    """`stop` begins the end; `serve` returns when it is over."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again when it is done, which would end the process before it has cleaned up."""
        yield

    def stop(self, grace: float) -> None:
        """End, with `grace` seconds for requests under way."""
        self.config.timeout_graceful_shutdown = max(1, round(grace))
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS == 0:
            self._look(time.monotonic())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE_HEADER]
        grace = self.config.timeout_graceful_shutdown or 1
        if self.server_state.connections and grace > CLOSING_SECONDS:
            await asyncio.sleep(CLOSING_SECONDS)
        await super().shutdown(sockets)

    def _look(self, now: float) -> None:
        for connection in [*self.server_state.connections]:
            if isinstance(connection, Guard):
                connection.tick(now)
