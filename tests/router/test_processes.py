"""`--processes N`: one port, several routers, each with an id of its own; one that dies is replaced, and all end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from router.processes import START_SECONDS
from stoker.store.store import Store
from tests.support.stack import eventually


def _children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def _is_well(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        return bool(answer.status == 200)


def _start(redis_url: str, cluster: str, folder: Path, **more: str) -> subprocess.Popen[bytes]:
    settings = {
        "STOKER_REDIS_URL": redis_url, "STOKER_CLUSTER": cluster, "STOKER_DATA_DIR": str(folder), "STOKER_PORT": "0",
        "STOKER_PROCESSES": "2", "STOKER_READY_FILE": str(folder / "ready"),
    }  # fmt: skip
    return subprocess.Popen([sys.executable, "-m", "router"], env={**os.environ, **settings, **more}, stderr=subprocess.DEVNULL)


async def test_two_processes_share_a_port_and_one_that_dies_is_replaced(redis_url: str, tmp_path: Path) -> None:
    store = await Store.open(redis_url, "several")
    parent = _start(redis_url, "several", tmp_path)
    try:
        eventually((tmp_path / "ready").exists)
        begun = time.monotonic()
        port = json.loads((tmp_path / "ready").read_text())["port"]
        before = _children(parent.pid)
        assert len(before) == 2
        while len(live := await store.routers.live()) < 2:
            assert parent.poll() is None
        assert len(set(live)) == 2
        assert all(_is_well(port) for _ in range(10))
        eventually(lambda: time.monotonic() - begun > START_SECONDS + 0.5)  # from then on a death is no failed start
        os.kill(min(before), signal.SIGKILL)
        eventually(lambda: len(now := _children(parent.pid)) == 2 and now != before)
        assert all(_is_well(port) for _ in range(10))
        before |= _children(parent.pid)
    finally:
        await store.close()
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(30) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in before)


async def test_processes_that_cannot_start_end_with_a_code(redis_url: str, tmp_path: Path) -> None:
    parent = _start(redis_url, "none", tmp_path, STOKER_SECRET_KEY_FILE=str(tmp_path / "nothing"))
    assert parent.wait(60) == 1
