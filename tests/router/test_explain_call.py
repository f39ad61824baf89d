"""Dry run and explain over HTTP: the contract's fields, the scheduler's arithmetic, sentences for what does not fit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from router.admin.shapes import Explained
from stoker.records import Gpu
from stoker.store.store import Store
from tests.support.admin import Router, router

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
