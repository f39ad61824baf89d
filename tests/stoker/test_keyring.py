"""Derived keys: stable, apart from each other, and from a file that nobody else reads."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import ConfigurationError
from stoker.keyring import read_key, session_key, worker_key

KEY = b"k" * 64


def test_a_key_is_made_once_private_and_long(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cluster.key"
    key = read_key(path, create=True)
    assert read_key(path, create=True) == read_key(path, create=False) == key and len(key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["cluster.key"]


def test_makers_at_once_agree(tmp_path: Path) -> None:
    keys: list[bytes] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        keys.append(read_key(tmp_path / "cluster.key", create=True))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8 and len(set(keys)) == 1


def test_a_missing_or_short_key_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_key(tmp_path / "no.key", create=False)
    (tmp_path / "short.key").write_text("abc\n")
    with pytest.raises(ConfigurationError, match="too short"):
        read_key(tmp_path / "short.key", create=True)


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_two_names_share_a_key(one: str, other: str) -> None:
    made = {session_key(KEY, one), session_key(KEY, other), worker_key(KEY, one), worker_key(KEY, other)}
    assert len(made) == (2 if one == other else 4)
    assert session_key(KEY, one) == session_key(KEY, one) != session_key(b"x" * 64, one)
