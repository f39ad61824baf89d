"""Whatever is sent to the admin calls: an answer in the contract's words, never a 500."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.admin.call import BODY_LIMIT
from router.table import Entry, table
from stoker.store.store import Store
from tests.support.admin import router

FIELDS = """name model replicas min max resources gpu env session refresh revision weight timeout role project services expires
limits overlap kind routing labels model_name options"""
QUERIES = "limit cursor labels since tail all now lost session previous dry_run service project"
WORDS = st.sampled_from(FIELDS.split())
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=40)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)
YAMLISH = st.text(st.sampled_from("{}[]&*!|>-:#%@`\"' \n\tabc01~.,?\\"), max_size=120)
BODIES = st.one_of(
    st.dictionaries(WORDS, VALUES, max_size=6).map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=200),
    YAMLISH.map(str.encode),
)
PARTS = st.one_of(st.sampled_from(["mine", "mine-aaaaa", "n1", "nobody", "admin"]), st.text(min_size=1, max_size=30), st.just("a" * 3000))
QUERY = st.dictionaries(
    st.sampled_from(QUERIES.split()),
    st.one_of(st.text(max_size=20), st.sampled_from(["true", "1", "-1", "1e400", "nan", "0", "a=b"])),
    max_size=3,
)
ENTRIES = [entry for entry in table() if entry.path.startswith(("/admin", "/v1"))]
ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


class Site:
    """A router whose loop runs in another thread than the test that Hypothesis drives."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.http = httpx2.Client(base_url=url, headers=headers, timeout=20, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def call(self, entry: Entry, part: str, query: dict[str, str], body: bytes) -> httpx2.Response:
        quoted = quote(part.encode("utf-8", "replace"), safe="")
        path = entry.path.replace("{name}", quoted).replace("{id:path}", quoted).replace("{id}", quoted)
        words = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
        return self.http.request(entry.method, path, params=words, content=body)


@pytest.fixture
async def address(store: Store, tmp_path: Path) -> AsyncIterator[tuple[str, dict[str, str]]]:
    async with router(store, tmp_path) as found, found.client() as admin:
        assert (await admin.put("/admin/services/mine", json={"name": "mine", "model": "demo"})).status_code == 201
        await found.node()
        await found.session()
        await found.settled()
        yield found.url, {"authorization": f"Bearer {found.tokens['admin']}"}


async def test_no_words_make_it_fail(address: tuple[str, dict[str, str]]) -> None:
    """Every call with any path, query and body."""

    @settings(ANY_PACE, max_examples=300)
    @given(st.sampled_from(ENTRIES), PARTS, QUERY, BODIES)
    def attack(entry: Entry, part: str, query: dict[str, str], body: bytes) -> None:
        answer = site.call(entry, part, query, body)
        assert answer.status_code < 500, (entry.method, entry.path, answer.text)
        if answer.status_code >= 400:
            words = answer.json()["error"]
            assert words["message"] and words["code"] == answer.headers["x-stoker-error"] and words["request_id"]

    with contextlib.closing(Site(*address)) as site:
        await asyncio.to_thread(attack)


async def test_no_spec_makes_it_fail(address: tuple[str, dict[str, str]]) -> None:
    """PUT of specs that are nearly right."""
    (put,) = (entry for entry in ENTRIES if entry.method == "PUT")

    @settings(ANY_PACE, max_examples=150)
    @given(st.dictionaries(WORDS, VALUES, max_size=4), st.booleans())
    def attack(more: dict[str, Any], dry: bool) -> None:
        body = json.dumps({**more, "name": "mine", "model": "demo"}).encode()
        answer = site.call(put, "mine", {"dry_run": "true"} if dry else {}, body)
        assert answer.status_code in (200, 201, 400, 409), answer.text

    with contextlib.closing(Site(*address)) as site:
        await asyncio.to_thread(attack)


async def test_bodies_are_bounded(address: tuple[str, dict[str, str]]) -> None:
    url, headers = address

    def drip() -> Iterator[bytes]:
        for _ in range(BODY_LIMIT // 2**16 + 2):
            yield b" " * 2**16

    with httpx2.Client(base_url=url, headers=headers, timeout=20) as http:
        for body in (b" " * (BODY_LIMIT + 1), drip()):
            answer = await asyncio.to_thread(http.put, "/admin/services/mine", content=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
