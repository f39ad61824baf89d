"""Several machines: routers, schedulers and workers on their own against one Redis; one of each may die."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stoker.client import Client
from tests.support.stack import eventually

STOKER = [sys.executable, "-m", "stoker.cli.main"]


class Fleet:
    """Processes by name (`router-0`, `worker-1`, …), each started by the command line as on a machine of its own."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        key = folder / "cluster.key"
        key.write_text(secrets.token_hex(32))
        key.chmod(0o600)
        self.token = "sk-admin-" + secrets.token_hex(24)
        self.environment = {
            **os.environ,
            "STOKER_REDIS_URL": redis_url,
            "STOKER_CLUSTER": f"fleet-{secrets.token_hex(3)}",
            "STOKER_SECRET_KEY_FILE": str(key),
            "STOKER_ADMIN_TOKEN": self.token,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, role: str, number: int) -> None:
        name = f"{role}-{number}"
        own = {"STOKER_DATA_DIR": str(self.folder / name), "STOKER_NODE_NAME": name, "STOKER_READY_FILE": str(self.folder / f"{name}.json")}
        ports = {"STOKER_PORT_RANGE": f"{21000 + 1000 * number}-{21999 + 1000 * number}"}
        words = [*STOKER, role, *(["--port", "0"] if role == "router" else [])]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(words, env={**self.environment, **own, **ports}, stdout=log, stderr=log)

    def url(self, number: int) -> str:
        file = self.folder / f"router-{number}.json"
        eventually(lambda: file.exists() and file.read_text().strip())
        return f"http://127.0.0.1:{json.loads(file.read_text())['port']}"

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def fleet(tmp_path: Path, redis_url: str) -> Iterator[Fleet]:
    with ExitStack() as stack:
        found = Fleet(tmp_path, redis_url)
        stack.callback(found.stop)
        for role in ("router", "scheduler", "worker"):
            for number in range(2):
                found.start(role, number)
        yield found


def ask(url: str, token: str, model: str) -> int:
    """The HTTP status of a small chat."""
    body = json.dumps({"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/chat/completions", body, headers), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.timeout(180)
def test_one_of_each_dies_and_the_service_serves(fleet: Fleet) -> None:
    with Client(fleet.url(0), fleet.token) as first, Client(fleet.url(1), fleet.token) as second:
        _kill_one_of_each(fleet, first, second)


def _kill_one_of_each(fleet: Fleet, first: Client, second: Client) -> None:
    eventually(lambda: len([n for n in first.nodes() if n["status"] == "ready"]) == 2)
    first.put_service("twin", {"name": "twin", "model": "demo", "replicas": 2, "placement": {"spread": "require"}})
    eventually(lambda: second.service("twin")["status"] == "HEALTHY", 60)
    sessions = [s for s in second.sessions() if s["service"] == "twin" and s["status"] == "READY"]
    assert {s["node"] for s in sessions} == {"worker-0", "worker-1"}
    assert ask(fleet.url(0), fleet.token, "twin") == ask(fleet.url(1), fleet.token, "twin") == 200

    fleet.kill("router-0")
    fleet.kill("scheduler-0")
    fleet.kill("scheduler-1")
    fleet.start("scheduler", 2)
    fleet.kill("worker-0")
    assert [ask(fleet.url(1), fleet.token, "twin") for _ in range(6)] == [200] * 6

    fleet.start("worker", 0)
    second.scale("twin", 3)
    eventually(lambda: second.service("twin")["replicas"] == {"wanted": 3, "ready": 2}, 30)
    after = {s["id"] for s in second.sessions() if s["service"] == "twin" and s["status"] == "READY"}
    assert after == {s["id"] for s in sessions}, "a restarted worker adopts what runs"
    for node in second.nodes():
        second.drain(node["name"])
    eventually(lambda: not [s for s in second.sessions() if s["status"] in ("READY", "STARTING", "DRAINING")], 60)
