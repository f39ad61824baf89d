"""Runners of this data directory that died: each holds a lock while it lives, so the next one need not wait for their leases.

A lock ends with its process, however that ended. One that is only paused keeps it, and its leases run out by themselves.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from stoker.errors import NotFound, Refused
from stoker.store.jobs import Jobs

log = logging.getLogger(__name__)

_ENDING = ".lock"
_MOST = 1_000


class Roll:
    """The locks in `folder`, one file per runner. Without a folder that can be written nothing is known of others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine: tuple[Path, int] | None = None

    def sign(self, name: str) -> None:
        """This runner lives."""
        path = self._folder / (name + _ENDING)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.info("no lock can be kept in %s: %s", self._folder, error)
            return
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._mine = path, fd

    def strike(self) -> None:
        """This runner ends."""
        if self._mine is not None:
            path, fd = self._mine
            path.unlink(missing_ok=True)
            os.close(fd)
            self._mine = None

    def dead(self) -> list[str]:
        """Names of those that signed and hold their lock no more; `forget` them once their jobs are taken care of."""
        try:
            paths = sorted(self._folder.glob("*" + _ENDING))[:_MOST]
        except OSError:
            return []
        own = self._mine[0] if self._mine is not None else None
        return [path.name.removesuffix(_ENDING) for path in paths if path != own and _is_free(path)]

    def forget(self, name: str) -> None:
        (self._folder / (name + _ENDING)).unlink(missing_ok=True)


async def take_over(jobs: Jobs, roll: Roll) -> int:
    """What dead runners had under way goes back to the queue, with a crash counted; how many. Raises StoreUnavailable."""
    dead = set(roll.dead())
    count = 0
    for job in await jobs.running() if dead else ():
        if job.runner in dead:
            try:
                await jobs.hand_back(job, job.epoch, crashed=True, retries=job.retries)
            except (Refused, NotFound):
                continue
            count += 1
    for name in dead:
        roll.forget(name)
    return count


def _is_free(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
