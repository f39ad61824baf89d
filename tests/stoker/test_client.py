"""The client against a real router: every method, the errors as classes, and nobody at the URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from stoker.client import Client
from stoker.connection import error_of
from stoker.errors import (
    Conflict,
    InvalidSpec,
    ModelNameTaken,
    NotAllowed,
    NotFound,
    RouterUnreachable,
    StokerError,
    Unauthenticated,
    VersionConflict,
)
from stoker.store.store import Store
from tests.support.admin import ADMIN, Router, router

T = TypeVar("T")
YAML = "name: mine\nmodel: demo\n"


@pytest.fixture
async def site(store: Store, tmp_path: Path) -> AsyncIterator[Router]:
    async with router(store, tmp_path) as found:
        await found.node()
        yield found


async def using(site: Router, act: Callable[[Client], T], token: str | None = ADMIN) -> T:
    """The client is not async; the router runs in this thread's loop."""

    def work() -> T:
        with Client(site.url, token, timeout=20) as client:
            return act(client)  # type: ignore[arg-type]

    return await asyncio.to_thread(work)


async def test_a_service_from_its_birth_to_its_end(site: Router) -> None:
    def act(client: Client) -> None:
        assert client.ready()["store"] == "up"
        assert client.put_service("mine", YAML)["created"] and not client.put_service("mine", YAML)["created"]
        assert client.put_service("mine", {"name": "mine", "model": "demo", "labels": {"a": "b"}}, if_match=1)["version"] == 2
        assert client.dry_run("mine", YAML)["diff"]
        assert [s["name"] for s in client.services()] == [s["name"] for s in client.services("a=b")] == ["mine"]
        assert client.services("a=c") == []
        assert client.scale("mine", 2)["spec"]["replicas"] == 2
        assert client.scale("mine", {"min": 0, "max": 4})["status"] == "IDLE"
        assert client.restart("mine")["revision"] == 2 and client.restart("mine", refresh=True)["revision"] == 3
        assert client.rollback("mine", 1)["version"] >= 6
        assert len(client.revisions("mine")) >= 3 and client.explain("mine")["diff"] == []
        assert client.service_events("mine")[0]["reason"] == "applied" and client.events(since=0)
        assert client.routes("mine") == [] and list(client.logs("mine", tail=5)) == []
        assert client.service("mine")["name"] == "mine" and client.served_models()[0]["id"] == "mine"
        assert client.delete_service("mine", now=True)["status"] == "STOPPING"

    await using(site, act)


async def test_sessions_nodes_tokens_and_what_is_there(site: Router) -> None:
    def act(client: Client) -> None:
        (session,) = client.sessions("mine")
        assert client.session(session["id"][:7]) == session
        assert client.weigh_session(session["id"], 5)["weight"] == 5 and client.delete_session(session["id"])
        assert "node n1 is not there" not in "".join(client.session_logs(session["id"]))
        assert client.cordon("n1")["status"] == "cordoned" and client.drain("n1", 5)["status"] == "draining"
        assert client.uncordon("n1")["status"] == "ready" and client.nodes() == [client.node("n1")]
        token = client.create_token(name="ci", role="user", expires="1h", services=None)
        new = client.rotate_token(token["id"], "1m")
        client.revoke_token(new["id"])
        assert token["id"] in {t["id"] for t in client.tokens()} and new["id"] not in {t["id"] for t in client.tokens()}
        assert "demo" in {v["name"] for v in client.variants()}
        assert client.models() == client.engines() == client.queue() == []

    await site.session()
    await site.settled()
    await using(site, act)


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda c: c.service("no/../such?"), NotFound),
        (lambda c: c.service(""), NotFound),
        (lambda c: c.put_service("x", "name: x\nmodel: demo\nreplicas: many"), InvalidSpec),
        (lambda c: c.put_service("x", YAML.replace("mine", "x"), if_match=9), VersionConflict),
        (lambda c: c.remove_node("n1", lost=True), Conflict),
    ],
)
async def test_errors_are_the_routers_own(site: Router, act: Callable[[Client], Any], kind: type[StokerError]) -> None:
    with pytest.raises(kind) as caught:
        await using(site, act)
    assert caught.value.message and type(caught.value) is kind
    if isinstance(caught.value, InvalidSpec):
        assert caught.value.param == "replicas" and caught.value.line == 3


async def test_a_model_name_that_is_taken(site: Router) -> None:
    await using(site, lambda client: client.put_service("mine", YAML))
    with pytest.raises(ModelNameTaken):
        await using(site, lambda client: client.put_service("two", "name: two\nmodel: demo\nmodel_name: [mine]\n"))


async def test_who_may_not(site: Router) -> None:
    for token, kind in ((None, Unauthenticated), ("sk-a-b", Unauthenticated), (site.tokens["user"], NotAllowed)):
        with pytest.raises(kind):
            await using(site, lambda client: client.services(), token)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no.such.host.invalid", "http://[", "nonsense"])
def test_nobody_at_the_url(url: str) -> None:
    with pytest.raises(RouterUnreachable) as caught, Client(url, timeout=2) as client:
        client.services()
    assert url in caught.value.message


def test_answers_that_are_no_routers() -> None:
    for body in (b"", b"<html>", b"[]", b"{}", b'{"error": "x"}', b"\xff"):
        assert error_of(404, body, {}).__class__ is NotFound
    slow = error_of(429, b'{"error": {"message": "m", "code": "queue_full"}}', {"retry-after": "7"})
    assert (type(slow).__name__, slow.retry_after, slow.message) == ("QueueFull", 7.0, "m")
