"""uvicorn's server without its signal handling: when to stop is decided in router.main."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import uvicorn


class Server(uvicorn.Server):
    """Ends when `should_exit` is set; then it takes no connections and waits `timeout_graceful_shutdown` seconds for the rest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again when it is done, which would end the process before it has cleaned up."""
        yield

    def stop(self, grace: float) -> None:
        self.config.timeout_graceful_shutdown = max(1, round(grace))
        self.should_exit = True
