"""One process of the platform: started, watched, and started again with a growing pause when it ends by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from stoker.cli.up import log_files
from stoker.cli.up.children import ChildSpec
from stoker.clock import Clock
from stoker.lifeline import VARIABLE

PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before each new start in a row."""

STEADY_SECONDS = 30.0
"""A process that lived this long begins with the shortest pause again."""

STOP_SECONDS = 10.0


class Child:
    """`run` keeps it alive until cancelled; `stop` ends it for good. `tell` gets a sentence at every end and start."""

    def __init__(self, spec: ChildSpec, log: Path, cwd: Path, lifeline: int, clock: Clock, tell: Callable[[str], None]) -> None:
        self.spec = spec
        self.log = log
        self.extra: dict[str, str] = {}
        self._cwd, self._lifeline, self._clock, self._tell = cwd, lifeline, clock, tell
        self._process: asyncio.subprocess.Process | None = None
        self._said_from = 0

    async def start(self, env: Mapping[str, str]) -> None:
        """One start. Raises OSError."""
        self._said_from = log_files.size(self.log)
        output = log_files.open_log(self.log)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                env={**env, **self.spec.env, **self.extra, VARIABLE: str(self._lifeline)},
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(self._lifeline,),
                start_new_session=True,
            )
        finally:
            os.close(output)

    async def wait(self) -> int:
        """Its exit status; negative is the signal that ended it."""
        assert self._process is not None, "start it first"
        return await self._process.wait()

    async def run(self, env: Mapping[str, str]) -> None:
        """After a first `start`: start it again whenever it ends, for ever."""
        failures = 0
        started = self._clock.monotonic()
        while True:
            status = await self.wait()
            failures = 0 if self._clock.monotonic() - started > STEADY_SECONDS else failures
            pause = PAUSES[min(failures, len(PAUSES) - 1)]
            self._tell(f"the {self.spec.name} ended ({self.describe(status)}); starting it again in {pause:g} s")
            await self._clock.sleep(pause)
            failures += 1
            started = self._clock.monotonic()
            await self._start_again(env)

    async def stop(self) -> None:
        """Ask it to end; kill it if it does not within STOP_SECONDS. A worker leaves its sessions running."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except ProcessLookupError:
            return
        except TimeoutError:
            process.kill()
            await process.wait()

    def describe(self, status: int) -> str:
        """`signal SIGKILL`, or `exit status 1: its last words`."""
        if status < 0:
            return f"signal {signal.Signals(-status).name}"
        words = log_files.last_words(self.log, self._said_from)
        return f"exit status {status}" + (f": {words}" if words else "")

    def complaint(self, status: int) -> str:
        """Why it could not start, for the user who typed `up`."""
        words = log_files.last_words(self.log, self._said_from) if status > 0 else ""
        return f"{words or f'it ended with {self.describe(status)}'} (its log is {self.log})"

    async def _start_again(self, env: Mapping[str, str]) -> None:
        try:
            await self.start(env)
        except OSError as error:  # no memory, no descriptors, a full disk: the next round tries again
            self._tell(f"the {self.spec.name} cannot be started: {error.strerror}")
