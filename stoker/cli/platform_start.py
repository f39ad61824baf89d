"""`serve` starts the platform where none runs."""

from __future__ import annotations

import sys
import time

from stoker.cli.reach import Reach
from stoker.cli.tables import write
from stoker.cli.up import launch
from stoker.cli.up.command import options
from stoker.errors import ConfigurationError

COMING_SECONDS = 60.0
_POLL_SECONDS = 0.05


def ensure_platform(reach: Reach, timeout: float = COMING_SECONDS) -> None:
    """Nothing to do for a router elsewhere. Raises ConfigurationError with the reason why the local one does not start."""
    if not reach.is_local:
        return
    if launch.running(reach.data) is None:
        began = time.monotonic()
        made = options(reach)
        launch.enter(reach.data)
        write(f"starting the platform (data in {reach.data.path}) …")
        sys.stdout.flush()
        try:
            found = launch.detached(made)
        except ConfigurationError as error:
            raise ConfigurationError(f"the platform does not start: {error.message}; once `stoker up -d` works, type this again") from error
        write(f"  platform   {time.monotonic() - began:5.1f} s   {found['url']}; `stoker down` stops it")
        return
    patience = min(timeout, COMING_SECONDS)
    deadline = time.monotonic() + patience  # another one is starting it just now
    while launch.read_up(reach.data) is None:
        if launch.running(reach.data) is None:
            raise ConfigurationError("the platform that was starting has ended; type `stoker up` to see why")
        if time.monotonic() > deadline:
            raise ConfigurationError(_stuck(reach, patience))
        time.sleep(_POLL_SECONDS)


def _stuck(reach: Reach, waited: float) -> str:
    holder = launch.running(reach.data)
    who = f"a process (pid {holder})" if holder else "a process"
    return (
        f"the platform is not ready after {waited:g} s: {who} holds {reach.data.lock} and has not said where its router is;"
        f" see {reach.data.logs / 'up.log'}, or end it with `stoker down` and type this again"
    )
