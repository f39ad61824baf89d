"""What `up` keeps on the disk: its lock, the logs of its processes, tokens."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.cli.up import lock, log_files, token_files
from stoker.data_dir import DataDir
from stoker.errors import ConfigurationError


def test_the_lock_says_who_holds_it_and_is_free_when_they_end(tmp_path: Path) -> None:
    path = tmp_path / "up.lock"
    assert lock.holder(path) is None
    script = (
        "import sys; from pathlib import Path; from stoker.cli.up import lock\n"
        f"lock.hold(Path({str(path)!r})); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        assert lock.holder(path) == other.pid
        with pytest.raises(ConfigurationError, match=f"pid {other.pid}"):
            lock.hold(path)
        other.kill()
    assert lock.holder(path) is None
    os.close(lock.hold(path))


def test_a_log_that_is_too_long_is_copied_and_emptied_while_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "x.log"
    fd = log_files.open_log(path)
    os.write(fd, b"old " * 100)
    log_files.rotate(path, limit=1_000)
    assert path.stat().st_size == 400, "short enough"
    log_files.rotate(path, limit=100)
    os.write(fd, b"new\n")
    os.close(fd)
    assert path.read_bytes() == b"new\n" and (tmp_path / "logs" / "x.log.1").read_bytes() == b"old " * 100
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_last_words_are_those_since_the_start(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("earlier\n2026-01-01T00:00:00.000Z ERROR router.main the port is taken\n\n")
    assert log_files.last_words(path, 0) == "the port is taken"
    assert log_files.last_words(path, path.stat().st_size) == ""
    assert log_files.last_words(tmp_path / "none.log", 0) == ""


def test_tokens_are_made_once_and_a_given_one_wins(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    token_files.prepare(data, None, data.cluster_key)
    first, key = token_files.read(data.admin_token), data.cluster_key.read_bytes()
    assert first and first.startswith("sk-") and stat.S_IMODE(data.admin_token.stat().st_mode) == 0o600
    token_files.prepare(data, None, data.cluster_key)
    assert token_files.read(data.admin_token) == first and data.cluster_key.read_bytes() == key
    token_files.prepare(data, "sk-chosen", data.cluster_key)
    assert token_files.read(data.admin_token) == "sk-chosen"
