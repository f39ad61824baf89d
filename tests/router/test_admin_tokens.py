"""/admin/tokens: told once, kept hashed, revoked, rotated, never beyond one's own rights."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from router.first_token import ensure_admin
from router.last_used import LastUsed
from stoker.clock import SystemClock
from stoker.errors import ConfigurationError
from stoker.settings import Settings
from stoker.store.store import Store
from stoker.tokens import ADMIN, hash_of
from tests.support.admin import Router, router


@pytest.fixture
async def site(store: Store, tmp_path: Path) -> AsyncIterator[Router]:
    async with router(store, tmp_path) as found:
        yield found


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


async def test_limits_that_nothing_enforces_are_noted(site: Router) -> None:
    async with site.client() as admin:
        made = (await admin.post("/admin/tokens", json={"limits": {"requests_per_minute": 5, "jobs_queued": 2}})).json()
        assert [note.split()[0] for note in made["notes"]] == ["limits.requests_per_minute"] and "no effect yet" in made["notes"][0]
        assert (await admin.post("/admin/tokens", json={"limits": {"jobs_queued": 2}})).json()["notes"] == []
        again = (await admin.post(f"/admin/tokens/{made['id']}/rotate", json={})).json()
        assert again["notes"] == made["notes"]
        assert '"notes"' not in (await admin.get("/admin/tokens")).text


async def test_a_token_is_told_once_and_works(site: Router) -> None:
    wanted = {"name": "ci", "role": "deployer", "project": "nlp", "services": ["a"], "expires": "30d", "limits": {"requests_per_minute": 5}}
    async with site.client() as admin:
        answer = await admin.post("/admin/tokens", json=wanted)
        made = answer.json()
        assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
        assert {field: made[field] for field in ("name", "role", "project", "services", "limits")} == {
            k: v for k, v in wanted.items() if k != "expires"
        }
        assert abs(seconds(made["expires_at"]) - time.time() - 30 * 86400) < 60
        site.tokens["new"] = made["token"]
        assert made["token"].startswith(f"sk-{made['id']}-")
        listed = (await admin.get("/admin/tokens")).text
        assert made["id"] in listed and made["token"] not in listed and '"token"' not in listed and "hash" not in listed
        forever = (await admin.post("/admin/tokens", json={"expires": "never"})).json()
        assert forever["expires_at"] is None and forever["role"] == "user" and forever["project"] == "default"
    async with site.client("new") as client:
        assert (await client.get("/admin/services")).status_code == 200
    record = await site.store.tokens.get(made["id"])
    assert record is not None and record.hash == hash_of(made["token"])


async def test_no_secret_is_in_the_store_or_in_the_log(site: Router, caplog: pytest.LogCaptureFixture) -> None:
    async with site.client() as admin:
        secret = (await admin.post("/admin/tokens", json={"name": "x"})).json()["token"]
        site.tokens["new"] = secret
        await admin.get("/admin/events")
        await admin.get(f"/admin/tokens/{secret}")
    async with site.client("new") as client:
        assert (await client.get("/admin/services")).status_code == 403
    kept = b"".join([repr(await site.store.database.client.dump(key)).encode() for key in await site.store.database.client.keys("*")])
    assert secret.split("-")[2].encode() not in kept
    assert secret not in caplog.text


async def test_the_admins_own_token_is_hidden(site: Router) -> None:
    async with site.client() as admin:
        listed = (await admin.get("/admin/tokens", params={"all": "true", "limit": "1000"})).json()["items"]
        assert listed and ADMIN not in {token["id"] for token in listed}
        assert (await admin.delete(f"/admin/tokens/{ADMIN}")).status_code == 403
        assert (await admin.post(f"/admin/tokens/{ADMIN}/rotate", json={})).status_code == 403
        assert (await admin.get("/admin/services")).status_code == 200


async def test_rotation_leaves_time_to_change_over(site: Router) -> None:
    async with site.client() as admin:
        old = (await admin.post("/admin/tokens", json={"name": "ci", "role": "viewer", "services": ["a"]})).json()
        new = (await admin.post(f"/admin/tokens/{old['id']}/rotate", json={"overlap": "1h"})).json()
        assert new["replaces"] == old["id"] and new["token"] != old["token"]
        assert (new["role"], new["services"], new["name"]) == ("viewer", ["a"], "ci")
        by_id = {token["id"]: token for token in (await admin.get("/admin/tokens")).json()["items"]}
        assert abs(seconds(by_id[old["id"]]["expires_at"]) - time.time() - 3600) < 60
        now = (await admin.post(f"/admin/tokens/{new['id']}/rotate", json={"overlap": 0})).json()
        site.tokens |= {"old": old["token"], "new": new["token"], "now": now["token"]}
        assert (await admin.post("/admin/tokens/nobody/rotate", json={})).status_code == 404
    for caller, status in (("old", 200), ("new", 401), ("now", 200)):
        async with site.client(caller) as client:
            assert (await client.get("/admin/services")).status_code == status, caller


async def test_a_deployer_makes_tokens_of_users_of_its_project_only(site: Router) -> None:
    async with site.client("deployer") as deployer, site.client("other") as other:
        made = await deployer.post("/admin/tokens", json={"services": ["a"]})
        assert made.status_code == 201 and made.json()["project"] == "default"
        for beyond in ({"role": "deployer"}, {"role": "admin"}, {"role": "viewer"}, {"project": "other"}):
            assert (await deployer.post("/admin/tokens", json=beyond)).status_code == 403, beyond
        id = made.json()["id"]
        assert id not in {token["id"] for token in (await other.get("/admin/tokens")).json()["items"]}
        assert (await other.delete(f"/admin/tokens/{id}")).status_code == 403
        assert (await deployer.delete(f"/admin/tokens/{id}")).status_code == 204
        assert (await deployer.delete(f"/admin/tokens/{id}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"role": "root"}, "role"), ({"project": "No Good"}, "project"), ({"services": ["*"]}, "services"),
        ({"expires": "soon"}, "expires"),
        ({"limits": {"speed": 1}}, "limits.speed"), ({"limits": {"gpu_seconds": -1}}, "limits.gpu_seconds"), ({"name": "a\nb"}, "name"),
        ({"hash": "x"}, None), ({"hidden": True}, None), ({"name": 5}, "name"), ({"limits": {"gpu_seconds": "x"}}, None),
    ],
)  # fmt: skip
async def test_wrong_words_are_refused(site: Router, body: dict[str, object], param: str | None) -> None:
    async with site.client() as admin:
        answer = await admin.post("/admin/tokens", json=body)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_request"
    assert param is None or answer.json()["error"]["param"] == param


async def test_last_use_is_kept_now_and_then(site: Router) -> None:
    async with site.client("viewer") as viewer, site.client() as admin:
        await viewer.get("/admin/services")
        await admin.get("/admin/services")
        context = site.context
        flushing = LastUsed(context.access, context.mirror.tokens, site.store, SystemClock())
        await flushing.flush()
        await site.settled()
        (token,) = (t for t in (await admin.get("/admin/tokens")).json()["items"] if t["role"] == "viewer")
        assert abs(seconds(token["last_used_at"]) - time.time()) < 60
        before = await site.store.version()
        await viewer.get("/admin/services")
        await flushing.flush()
        assert await site.store.version() == before, "not written again within a minute"


async def test_the_first_token(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "a" / "admin-token"
    alone = Settings(data_dir=tmp_path / "a")
    await ensure_admin(store, alone)
    record = await store.tokens.get(ADMIN)
    assert record is not None and record.hash == hash_of(file.read_text().strip()) and file.stat().st_mode & 0o777 == 0o600
    await ensure_admin(store, Settings(data_dir=tmp_path / "b"))
    assert not (tmp_path / "b").exists(), "a second router on its own leaves the first one's token"
    await ensure_admin(store, Settings(data_dir=tmp_path / "b", local_admin=True))
    record = await store.tokens.get(ADMIN)
    assert record is not None and record.hash == hash_of((tmp_path / "b" / "admin-token").read_text().strip())
    await ensure_admin(store, Settings(data_dir=tmp_path / "b", admin_token="correct horse".replace(" ", "-")))
    record = await store.tokens.get(ADMIN)
    assert record is not None and record.hash == hash_of("correct-horse") and record.hidden
    for bad in (" ", "zwei wörter"):
        with pytest.raises(ConfigurationError):
            await ensure_admin(store, Settings(data_dir=tmp_path, admin_token=bad))
    file.write_text("")
    with pytest.raises(ConfigurationError, match="empty"):
        await ensure_admin(store, Settings(data_dir=tmp_path / "a", local_admin=True))
