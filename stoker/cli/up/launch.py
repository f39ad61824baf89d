"""Starting `up` from the command line: a detached process that reports once, or this very process in the foreground."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from stoker.cli.up import lock, log_files
from stoker.cli.up.environment import settled
from stoker.cli.up.options import Options
from stoker.data_dir import DataDir
from stoker.errors import ConfigurationError

PATIENCE_SECONDS = 90.0
"""Longer than `up` waits itself, so that its own sentence comes first."""


def running(data: DataDir) -> int | None:
    """The pid of the `up` of this data directory, None where none runs."""
    return lock.holder(data.lock)


def read_up(data: DataDir) -> dict[str, Any] | None:
    """What the last `up` wrote about itself, which may have died since; None where there is nothing."""
    try:
        return dict(json.loads(data.up.read_text("utf-8")))
    except (OSError, ValueError):
        return None


def foreground(options: Options) -> NoReturn:
    """Become `up`, without what the command line had to import. Raises ConfigurationError."""
    enter(DataDir(Path(options.data_dir)))
    environment = settled()
    os.chdir(options.data_dir)
    os.execve(sys.executable, _argv(options), environment)  # noqa: S606


def detached(options: Options) -> dict[str, Any]:
    """What `up --json` prints, once the platform is ready. Raises ConfigurationError with the reason why it is not."""
    data = DataDir(Path(options.data_dir))
    log = data.logs / "up.log"
    enter(data)
    log_files.rotate(log)
    reading, writing = os.pipe()
    try:
        output = log_files.open_log(log)
        try:
            process = subprocess.Popen(
                _argv(replace(options, status_fd=writing)),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(writing,), cwd=data.path, start_new_session=True,
                env=settled(),
            )  # fmt: skip
        finally:
            os.close(output)
            os.close(writing)
        return _report(reading, process, log)
    except OSError as error:
        raise ConfigurationError(f"`up` cannot be started: {error.strerror} ({error.filename or data.path})") from error
    finally:
        os.close(reading)


def _argv(options: Options) -> list[str]:
    return [sys.executable, "-m", "stoker.cli.up", options.to_text()]


def enter(data: DataDir) -> None:
    """Make the directory. Raises ConfigurationError where that cannot be."""
    try:
        data.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.logs.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the data directory {data.path} cannot be made: {error.strerror}; choose another with --data-dir or STOKER_DATA_DIR"
        ) from error


def _report(reading: int, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    text = b""
    while not text.endswith(b"\n"):
        if not select.select([reading], [], [], PATIENCE_SECONDS)[0]:
            process.terminate()
            raise ConfigurationError(f"the platform did not start within {PATIENCE_SECONDS:g} s; see {log}")
        part = os.read(reading, 65536)
        if not part:
            raise ConfigurationError(f"`up` ended without a word (status {process.wait()}); see {log}")
        text += part
    message = json.loads(text)
    if "error" in message:
        process.wait()
        raise ConfigurationError(message["error"])
    return dict(message["up"])
