"""/admin/services: apply, compare, scale, restart, roll back, delete; versions and projects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from stoker.records import Backoff, Reason
from stoker.states import SessionStatus
from stoker.store.store import Store
from tests.support.admin import Router, router

SPEC: dict[str, Any] = {"name": "mine", "model": "demo"}
PATH = "/admin/services/mine"


@pytest.fixture
async def site(store: Store, tmp_path: Path) -> AsyncIterator[Router]:
    async with router(store, tmp_path, deployer_may=("process",)) as found:
        yield found


@pytest.fixture
async def admin(site: Router) -> AsyncIterator[httpx2.AsyncClient]:
    async with site.client() as client:
        yield client


def error(answer: httpx2.Response) -> tuple[int, str, str | None]:
    words = answer.json()["error"]
    assert set(words) >= {"message", "type", "code", "param", "request_id"} and words["message"]
    assert words["code"] == answer.headers["x-stoker-error"] and words["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, words["code"], words["param"]


async def test_put_is_201_then_200_and_the_same_again_changes_nothing(admin: httpx2.AsyncClient, site: Router) -> None:
    first = await admin.put(PATH, json=SPEC)
    assert first.status_code == 201 and first.headers["etag"] == '"1"'
    body = first.json()
    fields = ("name", "project", "owner", "labels", "status", "reason", "version", "revision", "endpoint", "model_name", "variant")
    assert all(field in body for field in (*fields, "open_to_public", "replicas", "sessions", "created_at", "spec"))
    assert (body["owner"], body["project"], body["status"], body["model_name"]) == ("admin", "default", "PROVISIONING", ["mine"])
    assert body["endpoint"] == f"{site.url}/services/mine" and body["created_at"].endswith("Z")
    again = await admin.put(PATH, content="name: mine\nmodel: demo\n")
    assert (again.status_code, again.json()["version"], again.json()["changed"]) == (200, 1, False)
    relabelled = (await admin.put(PATH, json={**SPEC, "labels": {"team": "nlp"}})).json()
    assert (relabelled["version"], relabelled["revision"], relabelled["changed"]) == (2, 1, True)
    changed = (await admin.put(PATH, json={**SPEC, "args": ["--x"]})).json()
    assert (changed["version"], changed["revision"]) == (3, 2)
    assert (await admin.get(PATH)).json()["spec"]["args"] == ["--x"]
    assert [row["revision"] for row in (await admin.get(f"{PATH}/revisions")).json()["items"]] == [2, 1]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("name: mine\nmodel: demo\nresources: {gpu: x}", "resources.gpu"),
        ("name: mine\nmodel: demo\ncolour: red", "colour"),
        ("name: other\nmodel: demo", "name"),
        ("name: mine", "model"),
        ("kind: project\nname: mine", "kind"),
        ("name: mine\nmodel: demo\n---\nname: two\nmodel: demo", "kind"),
        ("", None),
        ("{", None),
        ("a: &x 1", None),
    ],
)
async def test_a_wrong_spec_names_its_field_and_changes_nothing(admin: httpx2.AsyncClient, body: str, param: str | None) -> None:
    status, code, named = error(await admin.put(PATH, content=body))
    assert (status, code) == (400, "invalid_spec") and (param is None or named == param)
    assert (await admin.get(PATH)).status_code == 404


async def test_a_dry_run_changes_nothing(admin: httpx2.AsyncClient) -> None:
    dry = await admin.put(PATH, json={**SPEC, "preemptible": True}, params={"dry_run": "true"})
    assert dry.status_code == 200 and any(line.startswith("model: ") for line in dry.json()["diff"]) and dry.json()["notes"]
    fields = ("fits", "resolved", "argv", "env", "memory", "placement", "refused", "evicts", "nearest", "diff")
    assert all(field in dry.json() for field in fields)
    assert error(await admin.get(PATH)) == (404, "not_found", None)


async def test_what_cannot_change_is_refused(admin: httpx2.AsyncClient) -> None:
    await admin.put(PATH, json=SPEC)
    assert error(await admin.put(PATH, json={**SPEC, "project": "elsewhere"}))[2] == "project"
    assert error(await admin.put(PATH, json={**SPEC, "resource_group": "h100"})) == (400, "invalid_spec", "resource_group")


async def test_if_match(admin: httpx2.AsyncClient) -> None:
    assert error(await admin.put(PATH, json=SPEC, headers={"if-match": "*"}))[0] == 404
    assert error(await admin.put(PATH, json=SPEC, headers={"if-match": '"1"'}))[:2] == (412, "version_conflict")
    assert (await admin.put(PATH, json=SPEC, headers={"if-none-match": "*"})).status_code == 201
    assert error(await admin.put(PATH, json=SPEC, headers={"if-none-match": "*"}))[0] == 412
    assert (await admin.put(PATH, json={**SPEC, "priority": 1}, headers={"if-match": '"1"'})).headers["etag"] == '"2"'
    assert error(await admin.put(PATH, json={**SPEC, "priority": 2}, headers={"if-match": 'W/"1"'}))[0] == 412
    assert error(await admin.put(PATH, json=SPEC, headers={"if-match": "x"}))[:2] == (400, "invalid_request")
    assert error(await admin.delete(PATH, headers={"if-match": "1"}))[0] == 412
    assert (await admin.delete(PATH, headers={"if-match": "2"})).status_code == 202


async def test_of_many_writers_with_the_same_version_one_wins(admin: httpx2.AsyncClient) -> None:
    await admin.put(PATH, json=SPEC)
    writes = (admin.put(PATH, json={**SPEC, "priority": n + 20}, headers={"if-match": '"1"'}) for n in range(8))
    codes = sorted(answer.status_code for answer in await asyncio.gather(*writes))
    assert codes == [200] + [412] * 7
    free = await asyncio.gather(*(admin.put(PATH, json={**SPEC, "priority": n + 40}) for n in range(4)))
    assert {answer.status_code for answer in free} <= {200, 412} and 200 in {answer.status_code for answer in free}


async def test_a_model_name_belongs_to_one_service_of_a_project(admin: httpx2.AsyncClient) -> None:
    assert (await admin.put(PATH, json={**SPEC, "model_name": ["gpt"]})).status_code == 201
    assert error(await admin.put("/admin/services/two", json={"name": "two", "model": "demo", "model_name": ["gpt"]})) == (
        409, "model_name_taken", "model_name",
    )  # fmt: skip
    assert error(await admin.put("/admin/services/gpt", json={"name": "gpt", "model": "demo"}))[1] == "model_name_taken"
    elsewhere = {"name": "two", "model": "demo", "model_name": ["gpt"], "project": "other"}
    assert (await admin.put("/admin/services/two", json=elsewhere)).status_code == 201
    await admin.delete(PATH)
    assert (await admin.put("/admin/services/three", json={"name": "three", "model": "demo", "model_name": ["gpt"]})).status_code == 201


async def test_scale(admin: httpx2.AsyncClient) -> None:
    await admin.put(PATH, json=SPEC)
    stopped = (await admin.post(f"{PATH}/scale", json={"replicas": 0})).json()
    assert (stopped["status"], stopped["version"], stopped["revision"]) == ("STOPPED", 2, 1)
    ranged = (await admin.post(f"{PATH}/scale", json={"replicas": {"min": 0, "max": 3}})).json()
    assert ranged["spec"]["replicas"] == {"min": 0, "max": 3} and ranged["status"] == "IDLE"
    for wrong in (-1, 10**9, {"min": 3, "max": 1}, {"minimum": 1}, {}):
        status, code, param = error(await admin.post(f"{PATH}/scale", json={"replicas": wrong}))
        assert (status, code) == (400, "invalid_spec") and str(param).startswith("replicas"), wrong
    for wrong in ("two", 1.5, None, [1]):
        assert error(await admin.post(f"{PATH}/scale", json={"replicas": wrong}))[:2] == (400, "invalid_request")
    assert error(await admin.post(f"{PATH}/scale", json={"replicas": 1, "x": 1}))[0] == 400
    assert error(await admin.post("/admin/services/none/scale", json={"replicas": 1}))[0] == 404


async def test_restart_and_rollback(admin: httpx2.AsyncClient, site: Router) -> None:
    await admin.put(PATH, json=SPEC)
    assert error(await admin.post(f"{PATH}/rollback", json={}))[:2] == (409, "conflict")
    plain = (await admin.post(f"{PATH}/restart")).json()
    assert (plain["revision"], plain["version"], plain["changed"]) == (2, 2, True)
    kept = await site.store.services.get("mine")
    assert kept is not None and kept.resolve_at == 1, "a plain restart keeps what auto chose"
    await admin.post(f"{PATH}/restart", json={"refresh": True})
    kept = await site.store.services.get("mine")
    assert kept is not None and (kept.revision, kept.resolve_at) == (3, 3)
    await admin.put(PATH, json={**SPEC, "args": ["--bad"]})
    await admin.post(f"{PATH}/scale", json={"replicas": 5})
    back = (await admin.post(f"{PATH}/rollback", json={})).json()
    assert back["spec"].get("args") is None and back["spec"]["replicas"] == 5 and back["revision"] == 5
    bad = (await admin.post(f"{PATH}/rollback", json={"revision": 4})).json()
    assert bad["spec"]["args"] == ["--bad"]
    assert error(await admin.post(f"{PATH}/rollback", json={"revision": 99}))[0] == 404


async def test_restart_of_one_session_asks_for_its_drain(admin: httpx2.AsyncClient, site: Router) -> None:
    await admin.put(PATH, json=SPEC)
    session = await site.session()
    await site.settled()
    answer = await admin.post(f"{PATH}/restart", json={"session": session.id[:6]})
    assert answer.status_code == 202 and answer.json()["id"] == session.id
    stored = await site.store.sessions.get(session.id)
    assert stored is not None and stored.wish == "drain"


async def test_delete_is_202_until_it_is_gone(admin: httpx2.AsyncClient, site: Router) -> None:
    await admin.put(PATH, json=SPEC)
    await site.session()
    await site.settled()
    gone = await admin.delete(PATH)
    assert gone.status_code == 202 and gone.json()["status"] == "STOPPING"
    assert (await admin.delete(PATH, params={"now": "true"})).status_code == 202
    stored = await site.store.services.get("mine")
    assert stored is not None and stored.drop_now
    conflict = await admin.put(PATH, json=SPEC)
    assert error(conflict)[:2] == (409, "conflict") and int(conflict.headers["retry-after"]) <= 120
    assert error(await admin.post(f"{PATH}/scale", json={"replicas": 2}))[:2] == (409, "conflict")
    epoch = (await site.store.leadership.claim("t", 60)).epoch
    await site.store.services.forget("mine", epoch=epoch)
    await site.settled()
    assert error(await admin.get(PATH))[0] == 404 and error(await admin.delete(PATH))[0] == 404
    assert (await admin.put(PATH, json=SPEC)).status_code == 201


async def test_lists_are_paged_and_narrowed(admin: httpx2.AsyncClient) -> None:
    for number in range(5):
        labels = {"team": "nlp" if number % 2 else "vision"}
        await admin.put(f"/admin/services/s{number}", json={"name": f"s{number}", "model": "demo", "labels": labels})
    names, cursor = [], None
    for _ in range(3):
        page = (await admin.get("/admin/services", params={"limit": "2"} | ({"cursor": cursor} if cursor else {}))).json()
        names += [service["name"] for service in page["items"]]
        cursor = page["next"]
    assert names == [f"s{number}" for number in range(5)] and cursor is None
    found = (await admin.get("/admin/services", params={"labels": "team=nlp"})).json()["items"]
    assert [service["name"] for service in found] == ["s1", "s3"]
    for wrong in ({"limit": "0"}, {"limit": "x"}, {"labels": "team"}):
        assert error(await admin.get("/admin/services", params=wrong))[:2] == (400, "invalid_request")


async def test_projects_do_not_see_each_other(site: Router, admin: httpx2.AsyncClient) -> None:
    async with site.client("deployer") as own, site.client("other") as other:
        assert (await own.put(PATH, json=SPEC)).json()["project"] == "default"
        assert (await other.put("/admin/services/theirs", json={"name": "theirs", "model": "demo"})).json()["project"] == "other"
        for client, seen, hidden in ((own, "mine", "theirs"), (other, "theirs", "mine")):
            assert [s["name"] for s in (await client.get("/admin/services")).json()["items"]] == [seen]
            assert error(await client.get(f"/admin/services/{hidden}"))[:2] == (403, "not_allowed")
            events = (await client.get("/admin/events")).json()["items"]
            assert events and {event["object"] for event in events} == {f"service/{seen}"}
        assert error(await other.put("/admin/services/new", json={"name": "new", "model": "demo", "project": "default"}))[0] == 403
        assert error(await other.put(PATH, json=SPEC))[0] == 403
    assert len((await admin.get("/admin/services")).json()["items"]) == 2


async def test_status_is_derived_from_the_sessions(admin: httpx2.AsyncClient, site: Router) -> None:
    await admin.put(PATH, json=SPEC)
    epoch = (await site.store.leadership.claim("t", 60)).epoch
    await site.store.services.decide("mine", {"wanted": 1}, epoch=epoch)
    await site.session()
    await site.session(id="mine-ended", status=SessionStatus.FAILED)
    await site.settled()
    healthy = (await admin.get(PATH)).json()
    assert (healthy["status"], healthy["replicas"], healthy["sessions"]) == ("HEALTHY", {"wanted": 1, "ready": 1}, ["mine-aaaaa"])
    await site.session(status=SessionStatus.FAILED)
    backoff = Backoff(failures=5, gave_up=True, last=Reason("start_exit", "exit code 1"))
    await site.store.services.decide("mine", {"backoff": backoff}, epoch=epoch)
    await site.settled()
    broken = (await admin.get(PATH)).json()
    assert broken["status"] == "UNHEALTHY" and broken["reason"]["code"] == "crash_loop" and "exit code 1" in broken["reason"]["message"]


async def test_endpoint_is_fixed_at_creation(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path, domain="ai.example.org", public_url="https://gate.example.org/") as site, site.client() as admin:
        assert (await admin.put(PATH, json=SPEC)).json()["endpoint"] == "https://mine.ai.example.org"
    async with router(store, tmp_path, public_url="https://gate.example.org/") as site, site.client() as admin:
        assert (await admin.put(PATH, json={**SPEC, "priority": 3})).json()["endpoint"] == "https://mine.ai.example.org"
        two = (await admin.put("/admin/services/two", json={"name": "two", "model": "demo"})).json()
        assert two["endpoint"] == "https://gate.example.org/services/two"
