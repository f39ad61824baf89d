"""Every route of the router against every kind of caller, generated from the route table: default deny."""

from __future__ import annotations

from pathlib import Path

from starlette.routing import Route

from router.app import Passage, create_app
from router.rules import Rule
from router.table import Entry, table
from stoker.store.store import Store
from tests.support.admin import Router, router

STRANGERS = {"none": "invalid_api_key", "garbage": "invalid_api_key", "revoked": "invalid_api_key", "expired": "token_expired"}
ROLES = ("viewer", "user", "deployer", "admin")
SPEC = {"name": "mine", "model": "hf:org/model", "runtime": "docker"}
BODIES: dict[str, object] = {
    "/admin/services/{name}": SPEC,
    "/admin/services/{name}/scale": {"replicas": 1},
    "/admin/sessions/{id}/weight": {"weight": 50},
}
OWNED = ("/admin/services/{name}", "/admin/sessions/{id}", "/admin/tokens/{id}")
"""What lies below these belongs to a project."""


async def seed(site: Router) -> dict[str, str]:
    """A service, a session, a node and a token of the project default; what the paths' parameters are."""
    async with site.client() as admin:
        made = await admin.put("/admin/services/mine", json=SPEC)
        assert made.status_code == 201, made.text
        token = (await admin.post("/admin/tokens", json={"role": "user"})).json()["id"]
    await site.node()
    session = await site.session()
    await site.settled()
    found = {"/admin/services": "mine", "/admin/sessions": session.id, "/admin/nodes": "n1", "/admin/tokens": token, "/v1/models": "mine"}
    async with site.client("user") as user:
        job = (await user.post("/v1/jobs", json={"service": "mine", "body": {}})).json()["id"]
        assert (await user.delete(f"/v1/jobs/{job}")).json()["status"] == "cancelled", "so that its events have an end"
    return found | {"/v1/jobs": job}


def expected(entry: Entry, caller: str) -> tuple[int, str] | None:
    """Status and code that must come; None where the caller is let in."""
    open_to_all = entry.rule in (Rule.ANYONE, Rule.LOCAL)  # the test calls from this machine
    if open_to_all:
        return None
    if caller in STRANGERS:
        return 401, STRANGERS[caller]
    role = "deployer" if caller == "other" else caller
    if role not in entry.rule.roles:
        return 403, "not_allowed"
    if caller == "other" and entry.path.startswith(OWNED):
        return 403, "not_allowed"
    return None


async def test_every_route_refuses_who_is_not_in_its_rule(store: Store, tmp_path: Path) -> None:
    wrong = []
    async with router(store, tmp_path) as site:
        names = await seed(site)
        entries = sorted(table(), key=lambda entry: entry.method == "DELETE")  # what deletes comes last
        for caller in (*STRANGERS, "other", *ROLES):
            async with site.client(caller) as client:
                for entry in entries:
                    name = next((value for prefix, value in names.items() if entry.path.startswith(prefix)), "")
                    path = entry.path.replace("{name}", name).replace("{id}", name).replace("{id:path}", name)
                    answer = await client.request(entry.method, path, json=BODIES.get(entry.path))
                    want = expected(entry, caller)
                    got = (answer.status_code, answer.headers.get("x-stoker-error"))
                    good = got == want if want else answer.status_code < 500 and answer.status_code not in (401, 403)
                    if not good:
                        wrong.append(f"{caller}: {entry.method} {entry.path}: {got}, wanted {want or 'to be let in'}: {answer.text[:200]}")
                    assert answer.headers["x-request-id"]
    assert not wrong, "\n".join(wrong)


async def test_there_is_no_route_without_an_entry(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path) as site:
        routes = create_app(site.context).routes
    known = {(entry.method, entry.path) for entry in table()}
    assert len(known) == len(table()), "a call is there twice"
    found = set()
    for route in routes:
        if isinstance(route, Passage):
            assert route.rule is Rule.ENGINES
            continue
        assert isinstance(route, Route), f"{route!r} has no rule"
        found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
    assert found == known


def test_every_admin_call_needs_a_token() -> None:
    for entry in table():
        if entry.path.startswith("/admin"):
            assert entry.rule.roles, entry.path
            assert "user" not in entry.rule.roles or entry.path == "/admin/openapi.json", entry.path
        if entry.method in ("PUT", "POST", "DELETE"):
            allowed = (Rule.INFER,) if entry.path.startswith("/v1/jobs") else (Rule.WRITE, Rule.ADMIN)
            assert entry.rule in allowed, entry.path
