"""kill -9 of `up` and of each process under it: what ends, what runs on, what comes back."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from stoker.client import Client
from stoker.errors import StokerError
from tests.support.stack import Stack, eventually, running

PARTS = ("router", "scheduler", "worker", "store")


def parts(stack: Stack) -> list[int]:
    return [pid for role in PARTS for pid in stack.pids(role)]


@pytest.mark.timeout(180)
def test_killed_up_takes_its_processes_along_and_leaves_the_sessions_to_the_next(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        stack.stoker("serve", "demo", "-d")
        engines, sessions = stack.pids("engine"), stack.client.service("demo")["sessions"]
        os.kill(stack.up["pid"], signal.SIGKILL)
        eventually(lambda: not parts(stack), 5)
        assert stack.pids("engine") == engines
        assert stack.stoker("service", "ls", check=False).returncode == 5
        up = json.loads(stack.stoker("up", "-d", "--json", "--port", "0").stdout)
        with Client(up["url"], stack.admin_token) as client:
            eventually(lambda: client.service("demo")["status"] == "HEALTHY")
            assert client.service("demo")["sessions"] == sessions
        assert stack.pids("engine") == engines


@pytest.mark.timeout(180)
def test_down_after_a_killed_up_ends_the_sessions_too(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        stack.stoker("serve", "demo", "-d")
        os.kill(stack.up["pid"], signal.SIGKILL)
        eventually(lambda: not parts(stack), 5)
        stack.stoker("down")
        assert not stack.pids("engine") and not parts(stack)


@pytest.mark.timeout(180)
def test_each_killed_process_is_there_again_and_no_session_notices(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        stack.stoker("serve", "demo", "-d")
        sessions = stack.client.service("demo")["sessions"]
        for role in PARTS:
            pid = stack.kill(role)
            began = time.monotonic()
            eventually(lambda role=role, pid=pid: [p for p in stack.pids(role) if p != pid] and _whole(stack), 10)
            assert time.monotonic() - began < 10
            assert stack.client.service("demo")["sessions"] == sessions
        told = (tmp_path / "logs" / "up.log").read_text()
        assert all(f"the {role} ended" in told for role in PARTS)


def _whole(stack: Stack) -> bool:
    """Reads and writes work, the node beats, the service serves."""
    try:
        stack.client.cordon(stack.client.nodes()[0]["name"])
        stack.client.uncordon(stack.client.nodes()[0]["name"])
        return stack.client.nodes()[0]["status"] == "ready" and stack.client.service("demo")["status"] == "HEALTHY"
    except StokerError:
        return False


@pytest.mark.timeout(180)
def test_an_up_with_fewer_nodes_still_takes_over_what_runs_on_the_others(tmp_path: Path) -> None:
    with running(tmp_path, "--nodes", "2") as stack:
        first, second = sorted(node["name"] for node in stack.client.nodes())
        stack.client.put_service("far", {"name": "far", "model": "demo", "placement": {"nodes": [second]}})
        eventually(lambda: stack.client.service("far")["status"] == "HEALTHY")
        engines, sessions = stack.pids("engine"), stack.client.service("far")["sessions"]
        os.kill(stack.up["pid"], signal.SIGKILL)
        eventually(lambda: not parts(stack), 5)
        up = json.loads(stack.stoker("up", "-d", "--json", "--port", "0").stdout)
        with Client(up["url"], stack.admin_token) as client:
            assert {node["name"]: node["status"] for node in client.nodes()} == {first: "ready", second: "ready"}
            assert eventually(lambda: client.service("far")["status"] == "HEALTHY" and client.service("far")["sessions"]) == sessions
            assert stack.pids("engine") == engines
        began = time.monotonic()
        stack.stoker("down")
        assert not stack.pids("engine") and time.monotonic() - began < 60


@pytest.mark.timeout(180)
def test_down_does_not_wait_for_a_lost_node(tmp_path: Path) -> None:
    quick = {"STOKER_NODE_SILENT_SECONDS": "2", "STOKER_NODE_LOST_SECONDS": "4"}
    with running(tmp_path, "--nodes", "2", environment=quick) as stack:
        _, second = sorted(node["name"] for node in stack.client.nodes())
        stack.client.put_service("far", {"name": "far", "model": "demo", "placement": {"nodes": [second]}})
        eventually(lambda: stack.client.service("far")["status"] == "HEALTHY")
        (engine,) = stack.pids("engine")
        worker = next(pid for pid in stack.pids("worker") if f"STOKER_NODE_NAME={second}\0" in Path(f"/proc/{pid}/environ").read_text())
        os.kill(worker, signal.SIGSTOP)
        eventually(lambda: "LOST" in [s["status"] for s in stack.client.sessions("far")])  # a replacement waits beside it
        began = time.monotonic()
        said = stack.stoker("down", check=False)
        assert time.monotonic() - began < 60 and said.returncode == 1 and "far-" in said.stderr
        os.kill(engine, signal.SIGKILL)
