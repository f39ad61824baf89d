"""kill -9 of each part during a start, a stream and an apply: repaired within 10 s, no double session, no orphan."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from stoker.errors import StokerError
from tests.support.stack import Stack, eventually, running

ROLES = ("router", "scheduler", "worker", "store", "engine")
REPAIR_SECONDS = 10.0
OPTIONS = {"start_delay": 0.6, "tpot": 0.02}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(Path(tmp_path_factory.mktemp("kills"))) as found:
        yield found


_numbers = itertools.count()


def _apply(stack: Stack, name: str, replicas: int = 1) -> None:
    """PUT until it is taken: a router that was killed cannot answer, and the client does not know what became of it."""

    def put() -> bool:
        try:
            stack.client.put_service(name, {"name": name, "model": "demo", "options": OPTIONS, "replicas": replicas})
        except StokerError:
            return False
        return True

    eventually(put, REPAIR_SECONDS)


def _delete(stack: Stack, name: str) -> None:
    """Until it is taken: routers serve what they know while the store is away, but write nothing."""

    def delete() -> bool:
        try:
            stack.client.delete_service(name, now=True)
        except StokerError:
            return False
        return True

    eventually(delete, REPAIR_SECONDS)


def _healthy(stack: Stack, name: str) -> bool:
    try:
        if stack.client.service(name)["status"] != "HEALTHY":
            return False
        return _chat(stack, name).status_code == 200
    except (StokerError, httpx2.HTTPError):
        return False


def _chat(stack: Stack, name: str, **more: object) -> httpx2.Response:
    body = {"model": name, "max_tokens": 3, "messages": [{"role": "user", "content": "hello"}], **more}
    headers = {"authorization": f"Bearer {stack.user_token}"}
    return httpx2.post(f"{stack.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def _repaired(stack: Stack, name: str, since: float, replicas: int = 1) -> None:
    eventually(lambda: _healthy(stack, name), max(0.1, REPAIR_SECONDS + 3.0 - (time.monotonic() - since)))
    live = [s for s in stack.client.sessions() if s["service"] == name and s["status"] in ("PENDING", "PLACED", "STARTING", "READY")]
    assert len(live) == replicas, live
    processes = {pid for pid in stack.pids("engine") if _engine_of(pid) == name}
    assert {_session_of(pid) for pid in processes} == {s["id"] for s in live}, "an orphan or a double"


def _variable(pid: int, name: str) -> str:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    except OSError:
        return ""
    return next((v.partition("=")[2] for v in variables if v.startswith(f"{name}=")), "")


def _engine_of(pid: int) -> str:
    return _variable(pid, "STOKER_SERVICE")


def _session_of(pid: int) -> str:
    return _variable(pid, "STOKER_SESSION")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("role", ROLES)
def test_killed_during_a_start(stack: Stack, role: str) -> None:
    name = f"start-{next(_numbers)}"
    _apply(stack, name)
    if role == "engine":
        eventually(lambda: [pid for pid in stack.pids("engine") if _engine_of(pid) == name], 10, 0.01)
        os.kill(next(pid for pid in stack.pids("engine") if _engine_of(pid) == name), 9)
    else:
        stack.kill(role)
    _repaired(stack, name, time.monotonic())
    _delete(stack, name)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("role", ROLES)
def test_killed_during_a_stream(stack: Stack, role: str) -> None:
    name = f"stream-{next(_numbers)}"
    _apply(stack, name)
    eventually(lambda: _healthy(stack, name), 20)
    before = {s["id"] for s in stack.client.sessions() if s["service"] == name}
    lines: list[str] = []
    flowing = threading.Event()

    def read() -> None:
        body = {"model": name, "stream": True, "max_tokens": 100, "seed": 1, "messages": [{"role": "user", "content": "hello"}]}
        try:
            with httpx2.stream(
                "POST", f"{stack.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {stack.user_token}"}, timeout=30
            ) as answer:
                for line in answer.iter_lines():
                    lines.append(line)
                    flowing.set()
        except httpx2.HTTPError as error:
            lines.append(f"broken: {error}")

    reader = threading.Thread(target=read)
    reader.start()
    assert flowing.wait(10)
    if role == "engine":
        os.kill(next(pid for pid in stack.pids("engine") if _engine_of(pid) == name), 9)
    else:
        stack.kill(role)
    killed = time.monotonic()
    reader.join(20)
    assert not reader.is_alive()
    told = "\n".join(line for line in lines if line)
    if role == "engine":
        assert "stream_interrupted" in told and "[DONE]" not in told
    elif role == "router":
        assert "[DONE]" not in told or told.endswith("[DONE]")
    else:
        assert told.endswith("data: [DONE]"), "the data path does not need it"
    _repaired(stack, name, killed)
    if role != "engine":
        assert {s["id"] for s in stack.client.sessions() if s["service"] == name} == before, "no session was restarted"
    _delete(stack, name)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("role", ["router", "scheduler", "worker", "store"])
def test_killed_during_an_apply(stack: Stack, role: str) -> None:
    name = f"apply-{next(_numbers)}"
    killer = threading.Timer(0.003, lambda: stack.kill(role))
    killer.start()
    _apply(stack, name)
    killer.join()
    _repaired(stack, name, time.monotonic())
    _delete(stack, name)
    eventually(lambda: not [pid for pid in stack.pids("engine") if _engine_of(pid) == name], 15)
