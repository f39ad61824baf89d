"""What a session is given, and what the node refuses: devices, ports, secrets, models, engines."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any

import httpx2
import pytest

from model_variants.base import Site
from model_variants.facts import BUILTIN
from model_variants.registry import load_variants
from model_variants.resolve import resolve
from stoker.keyring import read_key, session_key
from stoker.records import Assignment, DeviceShare, HealthCheck, SessionRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus
from tests.support.engine import free_port
from tests.support.worker_node import ENGINE, WorkerNode, processes_of


async def refused(node: WorkerNode, id: str = "svc-aaaaa") -> tuple[str, str]:
    """Code and message of the node's refusal; the session stays PLACED for the scheduler."""
    found = await node.when(id, lambda s: s.refused is not None, fatal=lambda s: s.status != "PLACED")
    assert found.refused is not None and not processes_of(node.folder / "sessions" / id)
    return found.refused.code, found.refused.message


async def failed(node: WorkerNode, id: str = "svc-aaaaa") -> tuple[str, str]:
    found = await node.when(id, lambda s: s.status == "FAILED", fatal=lambda s: s.status == "READY")
    assert found.reason is not None
    return found.reason.code, found.reason.message


def with_gpus(node: WorkerNode) -> None:
    node.settings = node.settings.model_copy(update={"mock_gpus": "2xH100-80GB"})


def share(device: str, share: int = 100, memory: int = 0) -> tuple[DeviceShare, ...]:
    return (DeviceShare(device, share, memory),)


async def test_devices_are_shown_to_their_session_and_given_once(node: WorkerNode) -> None:
    with_gpus(node)
    async with node.running():
        await node.place("svc-aaaaa", gpus=share("mock-1", 60), spec={"env": {"MOCK_VISIBLE_DEVICES": "mock-0"}})
        ready = await node.until("svc-aaaaa", "READY")
        seen = httpx2.get(f"http://{ready.address}/env").json()
        assert seen["MOCK_VISIBLE_DEVICES"] == "mock-1", "the user's own value does not win"
        assert not {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"} & seen.keys()
        await node.place("svc-bbbbb", gpus=share("mock-1", 50))
        code, message = await refused(node, "svc-bbbbb")
        assert code == "held_by" and "0.5 of device mock-1 is wanted, 0.4 is free: it is held by svc-aaaaa" in message
        await node.place("svc-ccccc", gpus=share("mock-1", 40))
        await node.until("svc-ccccc", "READY")
        await node.drain("svc-aaaaa")
        await node.until("svc-aaaaa", "STOPPED")
        await node.place("svc-ddddd", gpus=share("mock-1", 60))
        await node.until("svc-ddddd", "READY")
        await node.place("svc-eeeee", gpus=share("mock-7"))
        assert (await refused(node, "svc-eeeee"))[0] == "gpu_fault"


async def test_shares_of_a_session_that_runs_are_held_over_a_restart_of_the_worker(node: WorkerNode) -> None:
    with_gpus(node)
    async with node.running():
        await node.place("svc-aaaaa", gpus=share("mock-0"))
        await node.until("svc-aaaaa", "READY")
    async with node.running():
        await node.place("svc-bbbbb", gpus=share("mock-0"))
        code, message = await refused(node, "svc-bbbbb")
        assert code == "held_by" and "svc-aaaaa" in message


async def test_more_memory_than_the_machine_has_is_refused(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa", memory=2**50)
        assert (await refused(node))[0] == "held_by"


async def test_a_fixed_port_that_is_in_use_is_refused_and_a_free_one_is_used(node: WorkerNode) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        async with node.running():
            await node.place("svc-aaaaa", port=taken)
            code, message = await refused(node)
            assert code == "port_taken" and str(taken) in message
            port = free_port()
            await node.place("svc-bbbbb", port=port)
            assert (await node.until("svc-bbbbb", "READY")).address == f"127.0.0.1:{port}"
            await node.place("svc-ccccc", port=port)
            assert await refused(node, "svc-ccccc") == ("held_by", f"port {port} is held by svc-bbbbb")


async def test_ports_are_not_used_again_at_once(node: WorkerNode) -> None:
    async with node.running():
        used = []
        for number in range(3):
            await node.place(f"svc-aaaa{number}")
            used.append((await node.until(f"svc-aaaa{number}", "READY")).address)
            await node.drain(f"svc-aaaa{number}")
            await node.until(f"svc-aaaa{number}", "STOPPED")
    assert len(set(used)) == 3


async def test_ports_taken_by_others_are_stepped_over_and_a_range_without_a_free_one_is_refused(node: WorkerNode) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        node.settings = node.settings.model_copy(update={"port_range": f"{port}-{port}"})
        async with node.running():
            await node.place("svc-aaaaa")
            code, message = await refused(node)
    assert code == "port_taken" and "STOKER_PORT_RANGE" in message


async def test_a_stranger_on_the_sessions_port_is_never_taken_for_it(node: WorkerNode) -> None:
    """It answers /health with 200, and got the port after it was booked."""
    port = free_port()
    stranger = await asyncio.create_subprocess_exec(
        sys.executable, ENGINE, "--port", str(port), "--delay", "1", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with node.running():
            await node.place("svc-aaaaa", "--delay", "30", port=port)
            code, message = await failed(node)
    finally:
        stranger.kill()
        await stranger.wait()
    assert code == "port_taken" and "another process listens" in message


@pytest.mark.parametrize(
    ("spec", "more", "code", "said"),
    [
        ({"env": {"KEY": {"secret": "hf-token"}}}, {}, "secret_missing", "hf-token"),
        ({"model": "/no/such/model"}, {}, "model_missing", "/no/such/model"),
        ({}, {"engine": "vllm==9.9"}, "engine_missing", "vllm==9.9"),
    ],
)
async def test_what_the_node_cannot_give_fails_with_its_name(
    node: WorkerNode, spec: dict[str, Any], more: dict[str, Any], code: str, said: str
) -> None:
    async with node.running():
        await node.place("svc-aaaaa", spec=spec, **more)
        found, message = await failed(node)
    assert found == code and said in message


async def test_an_unknown_runtime_or_variant_is_told_by_name(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa", runtime="docker")
        assert await refused(node) == ("engine_missing", "this node has no runtime docker")
        await node.place("svc-bbbbb", variant="imaginary")
        code, message = await failed(node, "svc-bbbbb")
        assert code == "model_unsupported" and "imaginary" in message


async def test_a_drain_waits_for_the_routers(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa")
        ready = await node.until("svc-aaaaa", "READY")
        await node.store.routers.beat("r1", {})
        await node.drain("svc-aaaaa", until=await node.store.time() + 60)
        await node.store.routers.report_drain("r1", "svc-aaaaa", 1)
        await asyncio.sleep(0.7)
        await node.store.routers.beat("r1", {})
        assert httpx2.get(f"http://{ready.address}/health").status_code == 200, "a request is still under way"
        await node.store.routers.report_drain("r1", "svc-aaaaa", 0)
        await node.until("svc-aaaaa", "STOPPED")
        await node.place("svc-bbbbb")
        await node.until("svc-bbbbb", "READY")
        await node.store.routers.beat("r1", {})
        await node.drain("svc-bbbbb", until=await node.store.time() + 0.5)
        await node.store.routers.report_drain("r1", "svc-bbbbb", 1)
        await node.until("svc-bbbbb", "STOPPED")


async def test_without_a_health_check_an_open_port_is_ready(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa", "--load", "60", health=HealthCheck(enable=False, path=None, start_timeout=20.0))
        await node.until("svc-aaaaa", "READY")


async def test_the_demo_engine_gets_its_key_by_environment_and_nowhere_else(node: WorkerNode) -> None:
    spec = ServiceSpec.from_json({"name": "svc", "model": "demo"})
    resolution = resolve(spec, BUILTIN, Site(), load_variants())
    record = SessionRecord(id="svc-aaaaa", service="svc", project="default", revision=1, status=SessionStatus.PENDING)
    async with node.running():
        await node.store.sessions.create(record, epoch=node.epoch)
        assignment = Assignment(revision=1, resolution=resolution, spec=spec.to_json())
        await node.store.sessions.place(record, "n1", assignment, epoch=node.epoch)
        ready = await node.until("svc-aaaaa", "READY")
        key = session_key(read_key(node.settings.key_file(), create=False), "svc-aaaaa")
        body = json.dumps({"model": "svc", "prompt": "a", "max_tokens": 1})
        assert httpx2.post(f"http://{ready.address}/v1/completions", content=body).status_code == 401
        good = httpx2.post(f"http://{ready.address}/v1/completions", content=body, headers={"authorization": f"Bearer {key}"})
        assert good.status_code == 200
        files = b"".join(path.read_bytes() for path in node.folder.rglob("*") if path.is_file())
        assert key.encode() not in files


@pytest.mark.slow
async def test_an_engine_that_closes_its_port_has_failed(node: WorkerNode) -> None:
    async with node.running():
        await node.place("svc-aaaaa", "--close-after", "1")
        await node.until("svc-aaaaa", "READY")
        found = await node.when("svc-aaaaa", lambda s: s.status == "FAILED")
    assert found.reason is not None and found.reason.code == "probe_failed" and "no longer listens" in found.reason.message


async def test_an_unreadable_journal_entry_of_a_running_session_is_written_anew(node: WorkerNode) -> None:
    with_gpus(node)
    async with node.running():
        await node.place("svc-aaaaa", gpus=share("mock-0"))
        before = await node.until("svc-aaaaa", "READY")
    (node.folder / "journal" / "svc-aaaaa.json").write_text("{")
    async with node.running():
        await node.place("svc-bbbbb", gpus=share("mock-0"))
        code, message = await refused(node, "svc-bbbbb")
        assert code == "held_by" and "svc-aaaaa" in message
        after = await node.until("svc-aaaaa", "READY")
        assert after.pid == before.pid
        await node.drain("svc-aaaaa")
        await node.until("svc-aaaaa", "STOPPED")
