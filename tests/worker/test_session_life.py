"""One session from its placement to its end, with real processes and a real store."""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx2
import pytest

from stoker.records import HealthCheck
from tests.support.worker_node import WorkerNode, processes_of


async def test_a_placed_session_becomes_ready_and_stops_when_drained(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa", "--load", "0.2")
        ready = await node.until("svc-aaaaa", "READY")
        assert ready.address and ready.pid and ready.phase is None
        assert httpx2.get(f"http://{ready.address}/health").status_code == 200
        await node.drain("svc-aaaaa")
        stopped = await node.until("svc-aaaaa", "STOPPED")
        assert stopped.ended_at
        assert processes_of(node.folder) == []
    reasons = [event.reason for event in await node.store.events.list("service/svc")]
    assert reasons == ["created", "placed", "starting", "ready", "stopped_by_user", "stopped"]


async def test_the_engine_sees_a_clean_environment(node: WorkerNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("STOKER_ADMIN_TOKEN", "sk-secret")
    async with node.running():
        await node.place("svc-aaaaa", spec={"env": {"LOG": "debug", "PORT": "1", "BACKEND_MODEL_NAME": "mine"}})
        ready = await node.until("svc-aaaaa", "READY")
        seen = httpx2.get(f"http://{ready.address}/env").json()
    assert seen["STOKER_SERVICE"] == "svc" and seen["STOKER_SESSION"] == "svc-aaaaa"
    assert seen["LOG"] == "debug" and seen["BACKEND_MODEL_NAME"] == "mine"
    assert f"127.0.0.1:{seen['PORT']}" == ready.address
    empty = Path(seen["BACKEND_MODEL_PATH"])
    assert empty.is_relative_to(node.folder) and empty.is_dir() and not list(empty.iterdir()), "a model without files has an empty folder"
    assert not {"HF_TOKEN", "STOKER_ADMIN_TOKEN", "MOCK_VISIBLE_DEVICES"} & seen.keys()


async def test_ready_is_found_within_100_ms_of_the_first_good_answer(node: WorkerNode, tmp_path: Path) -> None:
    """The best of three, as the machine may be busy; by the store's clock, which is this machine's."""
    late = []
    async with node.running():
        for number in range(3):
            note = tmp_path / f"note-{number}"
            await node.place(f"svc-aaaa{number}", "--load", "0.7", "--note", str(note))
            ready = await node.until(f"svc-aaaa{number}", "READY")
            good_at = float(note.read_text()) - time.monotonic() + time.time()
            late.append((ready.ready_at or 0.0) - good_at)
    assert -0.01 < min(late) < 0.1, late


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--exit", "3"), "start_exit", ["exited with code 3 before it was ready", "I give up"]),
        (("--exit", "0"), "start_exit", ["exited with code 0"]),
        (("--load", "60"), "start_timeout", ["not ready within 1 s", "503", "starts"]),
        (("--delay", "60"), "start_timeout", ["nothing listens on its port"]),
    ],
)
async def test_a_start_that_fails_says_why(node: WorkerNode, words: tuple[str, ...], code: str, said: list[str]) -> None:
    async with node.running():
        await node.place("svc-aaaaa", *words, health=HealthCheck(path="/health", start_timeout=1.0))
        failed = await node.when("svc-aaaaa", lambda s: s.status == "FAILED")
    assert failed.reason is not None and failed.reason.code == code
    assert all(part in failed.reason.message for part in said), failed.reason.message
    assert len(failed.reason.message) < 2500
    assert processes_of(node.folder) == []


async def test_a_command_that_does_not_exist_says_so(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa", command=("no-such-program", "--port", "{port}"))
        failed = await node.when("svc-aaaaa", lambda s: s.status == "FAILED")
    assert failed.reason is not None and failed.reason.code == "start_exit"
    assert "cannot start no-such-program: No such file or directory" in failed.reason.message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a cgroup")
async def test_an_engine_beyond_its_memory_is_said_to_be_out_of_memory(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa", "--hog", str(200 * 2**20), memory=100 * 2**20)
        failed = await node.when("svc-aaaaa", lambda s: s.status in ("FAILED", "READY"))
    assert failed.reason is not None and failed.reason.code == "out_of_memory", failed
    assert "100MiB" in failed.reason.message


async def test_an_exit_after_ready_is_a_failure_even_with_code_0(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa", "--exit-after", "0.7")
        await node.until("svc-aaaaa", "READY")
        failed = await node.when("svc-aaaaa", lambda s: s.status == "FAILED")
    assert failed.reason is not None and "exited with code 0 while it served" in failed.reason.message


@pytest.mark.slow
async def test_a_start_that_is_deaf_and_late_is_killed_long_before_its_grace(node: WorkerNode) -> None:
    """Some engines lose SIGTERM while they load; nobody has a request there that would be cut."""
    async with node.running():
        await node.place("svc-aaaaa", "--stubborn", "--load", "60", health=HealthCheck(path="/health", start_timeout=1.0))
        started = time.monotonic()
        await node.when("svc-aaaaa", lambda s: s.status == "FAILED")
    assert time.monotonic() - started < 20
