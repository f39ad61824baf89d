"""What a node says of itself: devices, engines, models; and that it says why something is not there."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from stoker.errors import ConfigurationError
from stoker.records import DeviceShare, Engine, ServiceRecord
from tests.support.worker_node import WorkerNode
from worker import machine
from worker import main as worker_main
from worker.devices.detect import AllDevices, detect
from worker.devices.mock import MockDevices
from worker.devices.nvidia import NvidiaDevices
from worker.engines import detect as detect_engines
from worker.model_facts import FactsBook
from worker.model_paths import may_show_at_models
from worker.runtimes.cgroups import CgroupMaker


def test_mock_gpus_are_slots_with_a_variable_of_their_own() -> None:
    devices = MockDevices("2xH100-80GB,1xL4-24GiB")
    assert [(gpu.id, gpu.model, gpu.memory, gpu.vendor) for gpu in devices.inventory(tuple)] == [
        ("mock-0", "H100", 80 * 10**9, "mock"),
        ("mock-1", "H100", 80 * 10**9, "mock"),
        ("mock-2", "L4", 24 * 2**30, "mock"),
    ]
    assert devices.environment((DeviceShare("mock-0", 100), DeviceShare("mock-2", 25))) == {"MOCK_VISIBLE_DEVICES": "mock-0,mock-2"}
    assert devices.environment(()) == {}


@pytest.mark.parametrize("text", ["H100-80GB", "8xH100", "8xH100-80g", "xH100-80GB", "8xH100-80GB;1xL4-1GB", "-1xH100-80GB"])
def test_mock_gpus_that_are_not_understood_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mock GPUs"):
        MockDevices(text)


def test_where_there_is_no_nvidia_driver_it_says_so() -> None:
    devices = NvidiaDevices()
    if not devices.why_none():
        pytest.skip("this machine has NVIDIA GPUs")
    assert devices.inventory(tuple) == () and devices.environment(()) == {}
    assert "driver" in (devices.why_none() or "")
    found = detect(None)
    assert found.inventory(tuple) == () and (found.why_none() or "").startswith("nvidia: ")


def test_mock_gpus_come_alone() -> None:
    found = detect("1xH100-80GB")
    assert [gpu.vendor for gpu in found.inventory(tuple)] == ["mock"] and found.why_none() is None


class TwoVendors(MockDevices):
    vendor = "nvidia"

    def environment(self, shares: object) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": ",".join(share.device for share in shares)}  # type: ignore[attr-defined]


def test_each_vendor_sees_its_own_devices_only() -> None:
    both = AllDevices([TwoVendors("1xH100-80GB")])
    assert both.environment((DeviceShare("mock-0", 100), DeviceShare("other", 100))) == {"CUDA_VISIBLE_DEVICES": "mock-0"}
    assert both.environment(()) == {"CUDA_VISIBLE_DEVICES": ""}, "a session without GPUs must not see them all"


def install(prefix: Path, program: str, package: str | None = None) -> Path:
    (prefix / "bin").mkdir(parents=True, exist_ok=True)
    (prefix / "bin" / program).write_text("#!/bin/sh\n")
    (prefix / "bin" / program).chmod(0o755)
    if package:
        (prefix / "lib/python3.12/site-packages" / f"{package}.dist-info").mkdir(parents=True)
    return prefix


def test_engines_are_found_without_running_them(tmp_path: Path) -> None:
    data, given, path = tmp_path / "data", tmp_path / "mine", tmp_path / "path"
    install(data / "vllm-0.33.0", "vllm", "vllm-0.33.0")
    install(given, "transformers", "transformers-5.23.0")
    install(given, "infinity_emb", "infinity_emb-0.0.78")
    install(path, "vllm", "vllm-0.33.0")
    install(path, "llama-server")
    install(path, "sglang")  # a program without its package is no engine
    found = detect_engines(data, [given], f"/nowhere/bin:{path / 'bin'}:relative/bin")
    assert found == (
        Engine(name="infinity", version="0.0.78", prefix=str(given)),
        Engine(name="llama_cpp", version="0", prefix=str(path)),
        Engine(name="transformers", version="5.23.0", prefix=str(given)),
        Engine(name="vllm", version="0.33.0", prefix=str(data / "vllm-0.33.0")),
    )


def test_facts_follow_the_files(tmp_path: Path) -> None:
    book = FactsBook(tmp_path)
    assert book.unread(["texts", "demo", "hf:org/name"])
    book.read(["texts", "demo", "hf:org/name"])
    assert book.known == {"texts": {"missing": f"there is no {tmp_path / 'texts'}"}} and book.missing()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("one")
    book.read(["texts"], only_missing=True)
    first = book.known["texts"]
    assert first["kind"] == "text" and not book.missing() and not book.unread(["texts"])
    (tmp_path / "texts" / "b.txt").write_text("two")
    book.read(["texts"], only_missing=True)
    assert book.known["texts"] == first
    book.read(["texts"])
    assert book.known["texts"]["digest"] != first["digest"]
    book.read([])
    assert book.known == {}


def test_models_is_shown_only_where_it_hides_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_text("")
    assert not may_show_at_models(None)
    assert not may_show_at_models(str(file))
    assert not may_show_at_models("/models")


def test_cgroups_of_version_2_are_used_where_they_are_delegated(tmp_path: Path) -> None:
    own = tmp_path / "system.slice" / "stoker.service"
    own.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (own / "cgroup.subtree_control").write_text("memory pids")
    made = CgroupMaker("n1", root=tmp_path, own="0::/system.slice/stoker.service\n").make("svc-1", 1000)
    assert made.folders == (own / "stoker-n1" / "svc-1",) and made.oom_files == (own / "stoker-n1" / "svc-1" / "memory.events",)
    assert (own / "stoker-n1" / "svc-1" / "memory.max").read_text() == "1000"


def test_without_cgroups_a_session_still_starts(tmp_path: Path) -> None:
    assert CgroupMaker("n1", root=tmp_path, own="").make("svc-1", 1000).folders == ()


def test_a_node_without_a_name_takes_the_machines() -> None:
    assert machine.node_name("gpu-7") == "gpu-7"
    assert machine.node_name(None).replace("-", "").isalnum()
    assert machine.cpu_millis() <= (os.cpu_count() or 1) * 1000 and machine.memory_bytes() > 2**20


async def test_a_node_registers_beats_and_publishes_facts_of_the_models_that_services_name(node: WorkerNode, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    node.settings = node.settings.model_copy(update={"mock_gpus": "2xH100-80GB", "node_labels": {"zone": "a"}})
    async with node.running():
        first = await node.registered()
        assert [gpu.id for gpu in first.gpus] == ["mock-0", "mock-1"] and first.labels == {"zone": "a"}
        assert first.worker_url.startswith("http://127.0.0.1:") and first.boot_id and first.memory > 0
        async with asyncio.timeout(10):
            while (seen := (await node.store.nodes.seen()).get("n1", 0.0)) == 0.0:  # it beats right after it has registered
                await asyncio.sleep(0.01)
        for name, model in (("here", str(folder)), ("gone", "no-such-model"), ("built-in", "demo")):
            service = ServiceRecord(name=name, project="p", owner="me", spec={"name": name, "model": model})
            await node.store.services.put(service, model_names=(name,), new_revision=True, refresh=True, expect_version=None, actor="me")
        published = await node.registered(lambda record: len(record.facts) == 2)
        assert published.facts[str(folder)]["kind"] == "text"
        assert "no-such-model" in published.facts["no-such-model"]["missing"]
        (node.settings.models_dir() / "no-such-model").mkdir(parents=True)
        await node.registered(lambda record: record.facts["no-such-model"].get("kind") == "empty")
        assert (await node.store.nodes.seen())["n1"] > seen


@pytest.mark.slow
async def test_a_node_that_was_forgotten_and_lives_registers_again(node: WorkerNode) -> None:
    async with node.running():
        first = await node.registered()
        await node.store.nodes.forget("n1")
        assert (await node.registered()).instance != first.instance


async def test_a_second_worker_of_a_node_is_refused(node: WorkerNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two journals of one node would give everything away twice."""
    monkeypatch.setattr(worker_main, "_LOCK_SECONDS", 0.2)
    async with node.running():
        await node.registered()
        with pytest.raises(ConfigurationError, match="another worker of the node n1 runs"):
            await worker_main.run(node.settings)
