"""A command as it is typed, without the second that a fresh interpreter takes on a busy machine."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from stoker.cli.main import run


class Typed(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def typed(data_dir: Path, *words: str, **environment: str) -> Typed:
    """Run `stoker WORDS` in this process, against the platform of a data directory. (`up` and the roles replace a process.)"""
    out, err = io.StringIO(), io.StringIO()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    with (
        mock.patch.dict(os.environ, {**ours, "STOKER_DATA_DIR": str(data_dir), **environment}, clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run(list(words))
    return Typed(code, out.getvalue(), err.getvalue())
