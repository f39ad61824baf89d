"""What a worker asks of a runtime. `process` is the first; a container runtime answers the same questions.

A runtime knows sessions by id alone and keeps on disk (or in its daemon) all it needs to answer after a restart of the worker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from stoker.records import Reason


class CannotStart(Exception):
    """Nothing was started and nothing is left; `reason` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = Reason(code, message)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One start. `env` is the engine's whole environment; `cwd` None is the session's own directory; `memory` bytes
    (0: no limit); `model_folder` is shown at /models where that can be had; each stop signal has `stop_grace` seconds.
    """

    session: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str | None = None
    memory: int = 0
    model_folder: str | None = None
    stop_signals: tuple[int, ...] = (15,)
    stop_grace: float = 30.0


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A session that runs: the engine's pid (or its container) and when it was started, in wall-clock seconds."""

    pid: int | None = None
    container: str | None = None
    started_at: float = 0.0


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a session ended; nothing of it is left. `asked`: we had told it to stop. `error`: the engine could not even begin.
    `rebooted`: the machine did it. `orphaned`: its supervisor was killed, so that the exit status is unknown.
    """

    code: int | None = None
    signal: int | None = None
    oom: bool = False
    asked: bool = False
    killed: bool = False
    error: str | None = None
    rebooted: bool = False
    orphaned: bool = False
    started_at: float = 0.0
    ended_at: float = 0.0


class Runtime(Protocol):
    """Every method may be called again after any failure. `find` comes first for a session that this worker did not start."""

    name: str

    async def start(self, job: Job) -> Running:
        """Start it; it runs on without the worker. Raises CannotStart."""
        ...

    async def find(self, session: str) -> Running | Ending | None:
        """What there is of it: it runs (and is watched from now on), it ended, or nothing was ever started."""
        ...

    async def ended(self, session: str) -> Ending:
        """Wait until everything of it is gone. Only after `start` or `find` said that it runs."""
        ...

    async def stop(self, session: str, *, kill: bool = False) -> None:
        """Ask it to stop as its job said, or kill it at once. Does not wait."""
        ...

    def pids(self, *sessions: str) -> set[int]:
        """The processes of these sessions, as far as they can be seen. Looks at every process once: not for often."""
        ...

    def folder(self, session: str) -> Path:
        """Where its log is, and its own directory `work`."""
        ...

    def sessions(self) -> list[str]:
        """Ids of all sessions that something is left of, be it a log."""
        ...

    async def remove(self, session: str) -> None:
        """Forget a session that ended, its log included."""
        ...
