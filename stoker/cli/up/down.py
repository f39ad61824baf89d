"""`stoker down`."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stoker.cli import failure
from stoker.cli.flags import DataDirectory, Debug
from stoker.cli.reach import Reach
from stoker.cli.tables import write
from stoker.cli.tree import single
from stoker.cli.up import launch, leftovers, log_files
from stoker.cli.up.command import options
from stoker.cli.up.draining import ANSWER_SECONDS, DRAIN_SECONDS, FORCE_SECONDS
from stoker.cli.up.options import Options
from stoker.data_dir import DataDir
from stoker.errors import ConfigurationError, StokerError

PATIENCE_SECONDS = DRAIN_SECONDS + FORCE_SECONDS + ANSWER_SECONDS + 60.0
_POLL_SECONDS = 0.05


def commands(name: str) -> typer.Typer:
    return single(name, down)


def down(
    keep_sessions: Annotated[bool, typer.Option("--keep-sessions", help="Sessions run on; the next `up` takes them over.")] = False,
    data_dir: DataDirectory = None,
    debug: Debug = False,
) -> None:
    """Drain and stop the platform of this machine. Specs and tokens stay; the next `up` brings the services back."""
    reach = Reach(data_dir=data_dir)
    pid = launch.running(reach.data)
    if pid is None and not keep_sessions and leftovers.sessions(reach.data):
        write("sessions of an `up` that was killed still run; taking them over to drain them")
        pid = int(launch.detached(_same_again(reach))["pid"])
    if pid is None:
        write(f"nothing runs on the data directory {reach.data.path}")
        return
    words = Words(reach.data.logs / "up.log")
    _signal(pid, signal.SIGUSR1 if keep_sessions else signal.SIGTERM, reach.data)
    try:
        _wait(reach.data, pid, words)
    except KeyboardInterrupt:
        write("ending it at once; Ctrl-C again leaves it to itself")
        _signal(pid, signal.SIGTERM, reach.data)
        _wait(reach.data, pid, words)
    left = [] if keep_sessions else leftovers.sessions(reach.data)
    if left:
        failure.say(f"stopped, but {len(left)} session(s) still run: {', '.join(left)}; the next `stoker up` takes them over")
        raise failure.Quit(failure.FAILED)
    write(f"stopped the platform of {reach.data.path}" + ("; its sessions run on" if keep_sessions else ""))


def _signal(pid: int, number: int, data: DataDir) -> None:
    deadline = time.monotonic() + 5
    while pid == 0 and time.monotonic() < deadline:  # it holds the lock and has not written its pid yet
        time.sleep(_POLL_SECONDS)
        pid = launch.running(data) or 0
    if pid == 0:
        raise ConfigurationError(f"the `up` of {data.path} does not say its pid in {data.lock}; end it by hand")
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise ConfigurationError(f"the `up` of {data.path} (pid {pid}) belongs to another user; type this as that user") from error


def _wait(data: DataDir, pid: int, words: Words) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while launch.running(data) is not None:
        words.repeat()
        if time.monotonic() > deadline:
            raise StokerError(f"the platform (pid {pid}) does not end; see {data.logs / 'up.log'}, then end it with `kill {pid}`")
        time.sleep(_POLL_SECONDS)
    words.repeat()


def _same_again(reach: Reach) -> Options:
    """What the `up` that was killed had been asked for, so that its nodes find their sessions; on any free port."""
    try:
        return replace(Options.from_text(reach.data.options.read_text("utf-8")), port=0, json=False, status_fd=None)
    except (OSError, ValueError, TypeError):
        return options(reach, port=0)


class Words:
    """What a detached `up` tells while it ends, repeated for who waits here, but for its own last word."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._seen = log_files.size(log)

    def repeat(self) -> None:
        try:
            with self._log.open(encoding="utf-8", errors="replace") as file:
                file.seek(self._seen)
                text = file.read(65536)
        except OSError:
            return
        whole, newline, _ = text.rpartition("\n")
        self._seen += len((whole + newline).encode())
        for line in whole.splitlines():
            sentence = line.partition(" ")[2]
            if sentence and not sentence.startswith("stopped"):
                write(sentence)
