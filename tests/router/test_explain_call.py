"""Dry run and explain over HTTP: the contract's fields, the scheduler's arithmetic, sentences for what does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from router.admin import worker_facts
from router.admin.shapes import Explained
from stoker.records import Gpu
from stoker.store.store import Store
from tests.support.admin import Router, router
from tests.support.worker_http import worker_http

PATH = "/admin/services/mine"
GPUS = tuple(Gpu(id=f"g{n}", model="H100", vendor="mock", memory=80 * 2**30) for n in range(2))


@pytest.fixture
async def site(store: Store, tmp_path: Path) -> AsyncIterator[Router]:
    async with router(store, tmp_path) as found:
        await found.node(gpus=GPUS)
        await found.settled()
        await found.context.pulse.look()
        yield found


@pytest.fixture
async def admin(site: Router) -> AsyncIterator[httpx2.AsyncClient]:
    async with site.client() as client:
        yield client


async def dry(admin: httpx2.AsyncClient, **more: object) -> Explained:
    answer = await admin.put(PATH, json={"name": "mine", "model": "demo", **more}, params={"dry_run": "true"})
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=Explained)


async def test_what_fits_says_where_and_what_is_started(admin: httpx2.AsyncClient) -> None:
    found = await dry(admin, resources={"gpu": 0.25}, replicas=2)
    assert found.fits is True and found.resolved is not None and found.resolved.variant == "demo" and found.resolved.gpu == 0.25
    assert [(place.node, place.gpus[0].share) for place in found.placement] == [("n1", 0.25), ("n1", 0.25)]
    assert found.argv[1:3] == ["-m", "model_variants.demo_engine"] and found.env["STOKER_SERVICE"] == "mine"
    assert found.diff and (await admin.get(PATH)).status_code == 404, "nothing was stored"


async def test_what_does_not_fit_says_why(admin: httpx2.AsyncClient) -> None:
    found = await dry(admin, resources={"gpu": 3})
    assert found.fits is False and found.reason is not None and found.reason.code == "no_fit" and "GPU" in found.reason.message
    assert [(refusal.node, refusal.code) for refusal in found.refused] == [("n1", "no_fit")]


async def test_a_model_that_nobody_has_looked_at(admin: httpx2.AsyncClient) -> None:
    found = await dry(admin, model="unheard-of")
    assert found.fits is None and found.reason is not None and found.reason.code == "model_missing"


TEXTS: dict[str, object] = {"kind": "text", "path": "/data/texts", "digest": "d", "weight_bytes": 3}


async def test_a_model_that_was_never_applied_is_asked_for(site: Router, admin: httpx2.AsyncClient) -> None:
    async with worker_http(site.context.cluster_key, "n2") as worker:
        worker.facts["/data/texts"] = TEXTS
        await site.node("n2", worker_url=worker.url)
        await site.settled()
        await site.context.pulse.look()
        found = await dry(admin, model="/data/texts", placement={"nodes": ["n2"]})
        assert found.fits is True and found.resolved is not None and [place.node for place in found.placement] == ["n2"]
        assert found.argv[-2:] == ["--text", "/data/texts"] and found.env["BACKEND_MODEL_PATH"] == "/data/texts"
        missing = await dry(admin, model="/data/none", placement={"nodes": ["n2"]})
        assert missing.fits is False and missing.reason is not None and missing.reason.code == "model_missing"
        assert worker.asked == [{"model": "/data/texts"}, {"model": "/data/none"}]
        assert (await dry(admin)).fits and len(worker.asked) == 2, "the demo needs no files, so nobody is asked"
        assert (await admin.put(PATH, json={"name": "mine", "model": "/data/texts", "placement": {"nodes": ["n2"]}})).status_code == 201
        explained = msgspec.json.decode((await admin.get(f"{PATH}/explain")).content, type=Explained)
        assert explained.fits is True and explained.placement[0].node == "n2", "as for explain"


async def test_nodes_that_do_not_answer_are_named(site: Router, admin: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_facts, "SECONDS", 0.5)
    async with worker_http(site.context.cluster_key, "n2") as worker, worker_http(site.context.cluster_key, "n3") as stuck:
        worker.facts["/data/texts"], stuck.hangs = TEXTS, True
        await site.node("n3", worker_url=stuck.url)
        await site.settled()
        await site.context.pulse.look()
        nobody = await dry(admin, model="/data/texts", placement={"nodes": ["n3"]})
        assert nobody.fits is None and nobody.reason is not None and "the worker of n3 d" in nobody.reason.message
        await site.node("n2", worker_url=worker.url)
        await site.settled()
        await site.context.pulse.look()
        found = await dry(admin, model="/data/texts")
        assert found.fits is True and [place.node for place in found.placement] == ["n2"]
        assert [note.split(":")[0].split(" d")[0] for note in found.notes] == [
            "the worker of n1 says no address to be asked at",
            "the worker of n3",
        ]
        assert {(no.node, no.code) for no in found.refused} == {("n1", "model_missing"), ("n3", "model_missing")}


async def test_an_applied_service_is_explained(admin: httpx2.AsyncClient) -> None:
    assert (await admin.put(PATH, json={"name": "mine", "model": "demo", "preemptible": True})).status_code == 201
    found = msgspec.json.decode((await admin.get(f"{PATH}/explain")).content, type=Explained)
    assert found.fits and found.diff == [] and found.notes


async def test_what_needs_no_files_is_refused_at_once(admin: httpx2.AsyncClient) -> None:
    for wrong, param in (({"variant": "nonsense"}, "variant"), ({"variant": "demo", "options": {"ttft": "soon"}}, "options.ttft")):
        answer = await admin.put(PATH, json={"name": "mine", "model": "demo", **wrong})
        words = answer.json()["error"]
        assert (answer.status_code, words["code"], words["param"]) == (400, "invalid_spec", param)


MOUNT = {"target": "/x"}
REFUSED: tuple[dict[str, object], ...] = (
    {"runtime": "process"}, {"model": "/etc"}, {"model": "/database"}, {"mounts": [{"source": "/etc", **MOUNT}]},
    {"model": "demo", "runtime": None},
)  # fmt: skip
GRANTED = ({"model": "stored"}, {"model": "hf:org/model"}, {"model": "/data/x"}, {"mounts": [{"source": "/data/lora", **MOUNT}]})


async def test_rights_of_deployers(store: Store, tmp_path: Path) -> None:
    """CONTRACT section 3, Rights. /data is a directory, not a prefix of names."""
    async with router(store, tmp_path, allowed_roots=("/data",)) as site, site.client("deployer") as deployer, site.client() as admin:
        for wrong in REFUSED:
            answer = await deployer.put(PATH, json={"name": "mine", "model": "stored", "runtime": "docker", **wrong})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed"), wrong
        for good in GRANTED:
            answer = await deployer.put(PATH, json={"name": "mine", "model": "stored", **good})
            assert answer.status_code in (200, 201) and answer.json()["spec"]["runtime"] == "docker", (good, answer.text)
        own = {"name": "own", "model": "demo", "runtime": "process"}
        assert (await admin.put("/admin/services/own", json=own)).status_code == 201
        assert (await deployer.post("/admin/services/own/scale", json={"replicas": 2})).status_code == 200, "scaling reaches nothing new"
        assert (await deployer.put("/admin/services/own", json={**own, "env": {"LD_PRELOAD": "/x"}})).status_code == 403
    async with router(store, tmp_path, deployer_may=("process", "host_paths")) as site, site.client("deployer") as deployer:
        assert (await deployer.put("/admin/services/two", json={"name": "two", "model": "/etc", "runtime": "process"})).status_code == 201
