"""Tokens: found by hash, remembered, forgotten at once when they change; and who may call what."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest

from router.access import LONGEST, REMEMBERED, Access, Principal, may_infer, may_see
from stoker.clock import SystemClock
from stoker.errors import TokenExpired, Unauthenticated
from stoker.records import ServiceRecord, TokenRecord
from stoker.store.store import Store
from stoker.tokens import ADMIN, hash_of, id_of, mint
from tests.support.admin import router


class Noon(SystemClock):
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time


def bearer(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", b"Bearer " + token.encode())]


def known(**fields: object) -> tuple[str, dict[str, TokenRecord]]:
    made = mint()
    return made.token, {made.id: TokenRecord(**{"id": made.id, "hash": made.hash, "role": "deployer", "project": "nlp", **fields})}


def test_a_token_is_found_by_its_id_and_compared_by_its_hash() -> None:
    token, records = known(services=("a",), name="ci")
    access = Access(records, Noon())
    for _ in range(2):  # from the records, then from memory
        found = access.authenticate(bearer(token))
        assert (found.role, found.project, found.services, found.actor) == ("deployer", "nlp", ("a",), "token ci")
    assert access.authenticate([(b"x-api-key", token.encode())]) == found
    assert access.authenticate([(b"x-api-key", b"sk-wrong-1"), *bearer(token)]) == found, "Authorization goes first"
    assert token not in repr(records) and records[found.id].hash == hash_of(token)


@pytest.mark.parametrize("text", ["", "x", "sk-", "sk--", "sk-a-b", "sk-admin-x", "Ünï", "sk-" + "a" * LONGEST])
def test_other_texts_are_refused(text: str) -> None:
    token, records = known()
    access = Access(records, Noon())
    for headers in (
        bearer(text),
        [(b"x-api-key", text.encode())],
        bearer(token + "0"),
        bearer(token[:-1]),
        [(b"authorization", token.encode())],
    ):
        with pytest.raises(Unauthenticated) as caught:
            access.authenticate(headers)
        assert token not in str(caught.value) and (not text or text not in str(caught.value) or len(text) < 4)
    assert access.recognise([]) is None


def test_the_admin_token_may_be_any_text() -> None:
    access = Access({ADMIN: TokenRecord(id=ADMIN, hash=hash_of("correct horse"), role="admin")}, Noon())
    assert access.authenticate([(b"x-api-key", b"correct horse")]).is_admin
    with pytest.raises(Unauthenticated):
        access.authenticate([(b"x-api-key", b"wrong horse")])
    assert id_of("correct horse") is None and id_of("sk-abc-def-g") == "abc"


def test_a_token_ends_at_its_time_even_when_it_is_remembered() -> None:
    clock = Noon()
    token, records = known(expires_at=1_010.0)
    access = Access(records, clock)
    assert access.authenticate(bearer(token))
    clock.time = 1_010.0
    with pytest.raises(TokenExpired):
        access.authenticate(bearer(token))


def test_a_change_is_not_hidden_by_memory() -> None:
    token, records = known()
    access = Access(records, Noon())
    (id,) = records
    assert access.authenticate(bearer(token)).role == "deployer"
    records[id] = TokenRecord(id=id, hash=records[id].hash, role="viewer")
    access.token_changed("token", id, records[id])
    assert access.authenticate(bearer(token)).role == "viewer"
    records.clear()
    access.token_changed("sync", "", None)
    with pytest.raises(Unauthenticated):
        access.authenticate(bearer(token))


def test_memory_is_bounded_and_uses_are_told_once() -> None:
    records = {}
    tokens = [mint() for _ in range(REMEMBERED + 10)]
    for made in tokens:
        records[made.id] = TokenRecord(id=made.id, hash=made.hash)
    access = Access(records, Noon())
    for made in tokens:
        access.authenticate(bearer(made.token))
    assert len(access._known) == REMEMBERED
    assert access.take_used() == dict.fromkeys(records, 1_000.0) and access.take_used() == {}


def test_who_may_call_what() -> None:
    """Every role, own or other project, named or not, public or not."""
    for role, own, scope, public in itertools.product(
        ("admin", "deployer", "viewer", "user", None), (True, False), ((), ("a",), ("b",)), (True, False)
    ):
        service = ServiceRecord(name="a", project="p", owner="", spec={"open_to_public": public})
        caller = Principal(id="t", role=role, project="p" if own else "q", services=scope) if role else None
        within = own and scope != ("b",)
        assert may_infer(caller, service) is (public or role == "admin" or (role in ("deployer", "user") and within)), (
            role,
            own,
            scope,
            public,
        )
        if caller is not None:
            assert may_see(caller, "p", "a") is (role == "admin" or within)


async def test_a_revoked_token_is_refused_within_a_second(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path) as site, site.client() as admin:
        made = (await admin.post("/admin/tokens", json={"role": "viewer"})).json()
        site.tokens["short"] = made["token"]
        elsewhere = Store.open(store.url, store.database.keys.cluster)
        other = await elsewhere
        async with site.client("short") as client:
            assert (await client.get("/admin/services")).status_code == 200
            await other.tokens.revoke(made["id"])  # by another router
            began = time.monotonic()
            while (await client.get("/admin/services")).status_code == 200:
                assert time.monotonic() - began < 1.0
                await asyncio.sleep(0.01)
            assert (await client.get("/admin/services")).json()["error"]["code"] == "invalid_api_key"
        await other.close()
