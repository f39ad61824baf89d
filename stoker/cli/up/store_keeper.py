"""The embedded store under `up`: started first, started again when it dies, stopped last."""

from __future__ import annotations

from collections.abc import Callable

from stoker.cli.up.child import PAUSES, STEADY_SECONDS
from stoker.clock import Clock
from stoker.errors import ConfigurationError
from stoker.store.embedded import EmbeddedServer


class StoreKeeper:
    """Keeps `server` running; every write that was acknowledged is there after a restart."""

    def __init__(self, server: EmbeddedServer, clock: Clock, tell: Callable[[str], None]) -> None:
        self._server, self._clock, self._tell = server, clock, tell

    async def run(self) -> None:
        """After a first `start` of the server: start it again whenever it ends, for ever."""
        failures = 0
        started = self._clock.monotonic()
        while True:
            status = await self._server.wait()
            failures = 0 if self._clock.monotonic() - started > STEADY_SECONDS else failures
            self._tell(f"the store ended (status {status}); starting it again")
            failures = await self._restart(failures)
            started = self._clock.monotonic()

    async def _restart(self, failures: int) -> int:
        while True:
            await self._clock.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1
            try:
                await self._server.start()
            except ConfigurationError as error:  # a full disk, a damaged file: said, and tried again
                self._tell(f"the store cannot be started: {error.message}")
            else:
                return failures
