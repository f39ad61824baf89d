"""/admin/nodes, /admin/sessions and what else the admin calls show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.admin import views
from stoker.records import Engine, Gpu, NodeRecord
from stoker.settings import Settings
from stoker.states import SessionStatus
from stoker.store.store import Store
from tests.support.admin import Router, router

GPUS = tuple(Gpu(id=f"g{n}", model="H100", vendor="mock", memory=80 * 2**30) for n in range(2))


@pytest.fixture
async def site(store: Store, tmp_path: Path) -> AsyncIterator[Router]:
    async with router(store, tmp_path) as found, found.client() as admin:
        assert (await admin.put("/admin/services/mine", json={"name": "mine", "model": "demo", "priority": 50})).status_code == 201
        facts: dict[str, dict[str, Any]] = {"llama": {"kind": "hf", "context_length": 4096}, "ghost": {"missing": "no such folder"}}
        await found.node(gpus=GPUS, engines=(Engine(name="vllm", version="0.33.0", prefix="/opt"),), labels={"zone": "a"}, facts=facts)
        await found.settled()
        yield found


async def test_a_node_shows_what_is_booked_on_it(site: Router) -> None:
    await site.session()
    await site.session(id="mine-gone", status=SessionStatus.FAILED)
    await site.settled()
    async with site.client("viewer") as viewer:
        (node,) = (await viewer.get("/admin/nodes")).json()["items"]
    assert (node["name"], node["status"], node["labels"], node["group"]) == ("n1", "ready", {"zone": "a"}, "default")
    assert node["resources"] == {"total": {"cpu": 8.0, "memory": 2**34, "gpu": 2}, "used": {"cpu": 0.5, "memory": 2**20, "gpu": 0.25}}
    assert [(gpu["id"], gpu["used_share"], gpu["status"]) for gpu in node["gpus"]] == [("g0", 0.25, "ok"), ("g1", 0.0, "ok")]
    assert node["engines"] == [{"name": "vllm", "version": "0.33.0"}] and node["sessions"] == ["mine-aaaaa"] and node["last_seen"]


async def test_names_of_other_projects_sessions_are_not_shown(site: Router) -> None:
    await site.session()
    await site.settled()
    async with site.client("other") as other:
        assert (await other.get("/admin/nodes/n1")).json()["sessions"] == []
        assert (await other.get("/admin/sessions")).json()["items"] == []


async def test_cordon_drain_uncordon(site: Router) -> None:
    async with site.client() as admin:
        assert (await admin.post("/admin/nodes/n1/cordon")).json()["status"] == "cordoned"
        gpu = (await admin.post("/admin/nodes/n1/cordon", json={"gpu": "g1"})).json()["gpus"][1]
        assert gpu["status"] == "cordoned"
        assert (await admin.post("/admin/nodes/n1/cordon", json={"gpu": "g9"})).status_code == 404
        draining = await admin.post("/admin/nodes/n1/drain", json={"timeout": 60})
        assert draining.status_code == 202 and draining.json()["status"] == "draining"
        assert (await admin.post("/admin/nodes/n1/drain", json={"timeout": -1})).status_code == 400
        opened = (await admin.post("/admin/nodes/n1/uncordon")).json()
        assert opened["status"] == "ready" and {gpu["status"] for gpu in opened["gpus"]} == {"ok"}
        assert (await admin.post("/admin/nodes/n9/cordon")).status_code == 404
        reasons = [event["reason"] for event in (await admin.get("/admin/events")).json()["items"] if event["object"] == "node/n1"]
        assert reasons == ["registered", "cordoned", "cordoned", "draining", "uncordoned"]


async def test_a_node_that_holds_something_is_not_forgotten(site: Router) -> None:
    await site.session()
    await site.settled()
    async with site.client() as admin:
        assert (await admin.delete("/admin/nodes/n1")).status_code == 409
        assert (await admin.delete("/admin/nodes/n1", params={"lost": "true"})).status_code == 409, "it is alive"
        await site.session(status=SessionStatus.STOPPED)
        await site.settled()
        assert (await admin.delete("/admin/nodes/n1")).status_code == 200
        assert (await admin.get("/admin/nodes/n1")).status_code == 404


def test_a_nodes_status_is_the_first_that_fits() -> None:
    settings = Settings()
    record = NodeRecord(name="n", address="", cordoned=True, draining_until=5.0)
    assert [views.node_status(record, age, settings) for age in (None, 16.0, 7.0, 1.0)] == ["lost", "lost", "silent", "draining"]
    assert views.node_status(NodeRecord(name="n", address="", cordoned=True), 1.0, settings) == "cordoned"
    assert views.node_status(NodeRecord(name="n", address=""), 0.0, settings) == "ready"


async def test_sessions_are_found_by_a_unique_prefix(site: Router) -> None:
    await site.session(id="mine-abcde")
    await site.session(id="mine-abxyz")
    await site.session(id="mine-old", status=SessionStatus.STOPPED)
    await site.settled()
    async with site.client() as admin:
        session = (await admin.get("/admin/sessions/mine-abc")).json()
        assert session["id"] == "mine-abcde" and session["gpus"] == [{"device": "g0", "share": 0.25, "memory": 2**30}]
        fields = ("id", "service", "revision", "node", "status", "phase", "reason", "address", "gpus", "restarts", "started_at", "ready_at")
        assert all(field in session for field in fields)
        assert (await admin.get("/admin/sessions/mine-ab")).status_code == 400
        assert (await admin.get("/admin/sessions/nothing")).status_code == 404
        assert len((await admin.get("/admin/sessions")).json()["items"]) == 2
        assert len((await admin.get("/admin/sessions", params={"all": "true", "service": "mine"})).json()["items"]) == 3
        assert (await admin.get("/admin/sessions", params={"node": "n7"})).json()["items"] == []


async def test_a_session_is_weighed_and_ended(site: Router) -> None:
    await site.session()
    await site.session(id="mine-old", status=SessionStatus.STOPPED)
    await site.settled()
    async with site.client("deployer") as deployer:
        assert (await deployer.post("/admin/sessions/mine-aaaaa/weight", json={"weight": 10})).json()["weight"] == 10
        (route,) = (await deployer.get("/admin/services/mine/routes")).json()["items"]
        load = {"weight": 10, "in_flight": 0, "waiting": 0, "failures": 0}
        known = {"session": "mine-aaaaa", "service": "mine", "address": "127.0.0.1:9", "health": "healthy", "reason": None} | load
        assert known.items() <= route.items() and route["limit"] > 0
        assert (await deployer.get("/admin/routes")).json()["items"] == [route]
        for wrong in ({"weight": 101}, {"weight": -1}, {"weight": "x"}, {}):
            assert (await deployer.post("/admin/sessions/mine-aaaaa/weight", json=wrong)).status_code == 400
        assert (await deployer.delete("/admin/sessions/mine-aaaaa")).status_code == 202
        assert (await deployer.delete("/admin/sessions/mine-aaaaa", params={"now": "true"})).status_code == 202
        assert (await deployer.delete("/admin/sessions/mine-old")).status_code == 409
    stored = await site.store.sessions.get("mine-aaaaa")
    assert stored is not None and stored.wish == "kill"


async def test_the_queue_is_in_the_order_of_turns(site: Router) -> None:
    async with site.client() as admin:
        await admin.put("/admin/services/urgent", json={"name": "urgent", "model": "demo", "priority": 90})
        for id, service, created in (("mine-2", "mine", 2.0), ("mine-1", "mine", 1.0), ("urgent-1", "urgent", 3.0)):
            await site.session(service, id=id, status=SessionStatus.PENDING, node=None, assignment=None, address=None, created_at=created)
        await site.settled()
        assert [s["id"] for s in (await admin.get("/admin/queue")).json()["items"]] == ["urgent-1", "mine-1", "mine-2"]


async def test_the_catalogue(site: Router, tmp_path: Path) -> None:
    (tmp_path / "models" / "stored").mkdir(parents=True)
    async with site.client("viewer") as viewer:
        models = {model["name"]: model for model in (await viewer.get("/admin/models")).json()["items"]}
        assert models["llama"]["nodes"] == ["n1"] and models["llama"]["facts"]["context_length"] == 4096
        assert models["ghost"] == {"name": "ghost", "nodes": [], "missing": {"n1": "no such folder"}, "facts": None, "services": []}
        assert models["demo"]["services"] == ["mine"] and "stored" in models
        assert (await viewer.get("/admin/engines")).json()["items"] == [{"name": "vllm", "version": "0.33.0", "node": "n1"}]
        variants = {variant["name"]: variant for variant in (await viewer.get("/admin/variants")).json()["items"]}
        assert variants["demo"]["title"] and variants["demo"]["options"]["type"] == "object" and "cmd" in variants["command"]["aliases"]
        described = (await viewer.get("/admin/openapi.json")).json()
        assert {"name", "model", "resources"} <= described["components"]["schemas"]["ServiceSpec"]["properties"].keys()
        assert described["paths"]["/admin/services/{name}"].keys() == {"get", "put", "delete"}
