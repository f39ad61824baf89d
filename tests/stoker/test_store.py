"""The verbs about services, nodes, routers, tokens and events, and what the store says when it cannot."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import msgspec
import pytest

from stoker.errors import Conflict, ModelNameTaken, NotFound, Refused, StokerError, StoreUnavailable, VersionConflict
from stoker.records import Event, Load, NodeRecord, Reason, RouteHealth, ServiceRecord, SessionRecord, TokenRecord
from stoker.store.database import FEED_LENGTH, KEEP_REVISIONS, Guard
from stoker.store.embedded import EmbeddedServer
from stoker.store.store import Store
from tests.support.cluster import ASSIGNMENT, put_service, session_record


def service(name: str = "x", project: str = "default", **spec: object) -> ServiceRecord:
    return ServiceRecord(name=name, project=project, owner="me", spec={"name": name, **spec})


async def put(store: Store, record: ServiceRecord, *names: str, expect: int | None = None, new: bool = True) -> ServiceRecord:
    saved, _ = await store.services.put(
        record, model_names=names or (record.name,), new_revision=new, refresh=False, expect_version=expect, actor="me"
    )
    return saved


async def test_fifty_writers_at_once_all_succeed_and_versions_grow_by_one(store: Store) -> None:
    saved = await asyncio.gather(*(put(store, service(env={"N": str(n)})) for n in range(50)))
    assert sorted(record.version for record in saved) == list(range(1, 51))
    assert sorted(record.revision for record in saved) == list(range(1, 51))
    assert await store.services.get("x") == max(saved, key=lambda record: record.version)
    revisions = await store.services.revisions("x")
    assert [kept["revision"] for kept in revisions] == list(range(50, 50 - KEEP_REVISIONS, -1))


async def test_if_match_lets_one_of_many_through(store: Store) -> None:
    await put(store, service())
    results = await asyncio.gather(*(put(store, service(n=n), expect=1) for n in range(10)), return_exceptions=True)
    assert sum(isinstance(result, ServiceRecord) for result in results) == 1
    assert all(isinstance(result, ServiceRecord | VersionConflict) for result in results)
    with pytest.raises(VersionConflict, match="at version 2, not 0"):
        await put(store, service(), expect=0)


async def test_an_unchanged_spec_writes_nothing(store: Store) -> None:
    first = await put(store, service())
    version = int(await store.database.client.get(store.database.keys.feed_version()))
    record, written = await store.services.put(
        service(), model_names=("x",), new_revision=False, refresh=False, expect_version=None, actor="me"
    )
    assert record == first and not written.changed
    assert int(await store.database.client.get(store.database.keys.feed_version())) == version


async def test_a_change_without_new_revision_keeps_it(store: Store) -> None:
    await put(store, service())
    after = await put(store, service(replicas=3), new=False)
    assert (after.version, after.revision) == (2, 1)
    assert len(await store.services.revisions("x")) == 1


async def test_a_model_name_has_one_owner_per_project(store: Store) -> None:
    await put(store, service("x"), "x", "gpt")
    with pytest.raises(ModelNameTaken, match="gpt is taken by the service x"):
        await put(store, service("y"), "y", "gpt")
    assert await store.services.get("y") is None
    await put(store, service("z", project="other"), "z", "gpt")
    await put(store, service("x", v=2), "x")  # gives gpt up
    await put(store, service("y"), "y", "gpt")
    with pytest.raises(ModelNameTaken):
        await put(store, service("x", v=3), "x", "gpt")


async def test_a_deleted_service_frees_its_names_takes_no_spec_and_is_forgotten_once(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 60)).epoch
    record = await put(store, service(), "x", "gpt")
    with pytest.raises(Refused):
        await store.services.forget("x", epoch=epoch)
    await store.services.delete(record, now=True, actor="me")
    await store.services.delete(record, now=False, actor="me")
    found = await store.services.get("x")
    assert found is not None and found.deleted_at is not None and found.drop_now, "a second delete takes nothing back"
    with pytest.raises(Conflict, match="being deleted"):
        await put(store, service(v=2))
    with pytest.raises(Refused):
        await store.services.wake("x")
    await put(store, service("y"), "gpt")
    await store.services.forget("x", epoch=epoch)
    again = await put(store, service())
    assert again.version == 1 and len(await store.services.revisions("x")) == 1
    with pytest.raises(Refused):  # a pass that still saw the old one must not remove the new one
        await store.services.forget("x", epoch=epoch)


async def test_a_service_does_not_change_its_project(store: Store) -> None:
    await put(store, service())
    with pytest.raises(Conflict, match="another project"):
        await put(store, service(project="other"))


async def test_waking_stamps_the_stores_time(store: Store) -> None:
    await put(store, service())
    before = await store.time()
    await store.services.wake("x")
    found = await store.services.get("x")
    assert found is not None and before <= found.woken_at <= await store.time()
    with pytest.raises(NotFound):
        await store.services.wake("nobody")


async def test_a_worker_and_an_admin_own_different_fields_of_a_node(store: Store) -> None:
    await store.nodes.register(NodeRecord(name="n1", address="1.2.3.4", instance="one", cpu=4000))
    await store.nodes.mark("n1", {"cordoned": True, "removed": True}, reason="cordoned", message="by hand", actor="me")
    await store.nodes.register(NodeRecord(name="n1", address="1.2.3.4", instance="two", cpu=8000))
    node = await store.nodes.get("n1")
    assert node is not None and node.cordoned and not node.removed and node.cpu == 8000
    with pytest.raises(Refused):
        await store.nodes.update("n1", "one", {"cpu": 1})
    with pytest.raises(ValueError, match="cordoned"):
        await store.nodes.update("n1", "two", {"cordoned": False})
    with pytest.raises(ValueError, match="cpu"):
        await store.nodes.mark("n1", {"cpu": 1}, reason="", message="", actor="")
    seen = (await store.nodes.seen())["n1"]
    await store.nodes.beat("n1")
    assert (await store.nodes.seen())["n1"] >= seen
    await store.nodes.forget("n1")
    assert await store.nodes.get("n1") is None and await store.nodes.seen() == {}


async def test_a_drain_is_over_when_every_live_router_says_so(store: Store) -> None:
    assert await store.routers.drained("x-1"), "no router lives"
    await store.routers.beat("r1", {"x": Load(in_flight=2)})
    await store.routers.beat("r2", {})
    await store.routers.report_drain("r1", "x-1", 1)
    assert not await store.routers.drained("x-1")
    await store.routers.report_drain("r1", "x-1", 0)
    assert not await store.routers.drained("x-1"), "r2 has said nothing yet"
    await store.routers.leave("r2")
    assert await store.routers.drained("x-1")
    assert await store.routers.loads() == {"r1": {"x": Load(in_flight=2)}}
    await store.routers.beat("r1", {})
    assert await store.routers.loads() == {"r1": {}}


async def test_a_router_that_is_silent_too_long_is_not_asked(store: Store) -> None:
    await store.routers.beat("r1", {})
    await store.database.client.zadd(store.database.keys.routers_seen(), {"gone": await store.time() - 60})
    assert await store.routers.live() == ["r1"]
    await store.routers.report_drain("r1", "x-1", 0)
    assert await store.routers.drained("x-1")


async def test_route_health_is_kept_and_forgotten(store: Store) -> None:
    health = RouteHealth(health="unhealthy", misses=3, reason=Reason("probe_failed", "503"))
    await store.routers.set_health("x-1", health)
    assert await store.routers.health() == {"x-1": health}
    await store.routers.forget_health("x-1")
    assert await store.routers.health() == {}


async def test_tokens_come_change_and_go(store: Store) -> None:
    await store.tokens.put(TokenRecord(id="t1", hash="h1"))
    await store.tokens.change("t1", {"hash": "h2"})
    assert (await store.tokens.all())["t1"].hash == "h2"
    await store.tokens.revoke("t1")
    assert await store.tokens.get("t1") is None
    with pytest.raises(NotFound):
        await store.tokens.change("t1", {"hash": "h3"})


async def test_events_are_bounded_and_can_be_asked_by_object_and_time(store: Store) -> None:
    for n in range(3):
        await store.events.append(Event(object="service/x", reason="r", message=str(n), actor="a"))
    middle = await store.time()
    await store.events.append(Event(object="node/n", reason="r", message="3", actor="a"))
    assert [event.message for event in await store.events.list("service/x")] == ["0", "1", "2"]
    assert [event.message for event in await store.events.list(since=middle)] == ["3"]
    assert [event.message for event in await store.events.list(limit=2)] == ["2", "3"]
    assert await store.database.client.ttl(store.database.keys.events("service/x")) > 0


async def test_the_feed_is_bounded(store: Store) -> None:
    client, feed = store.database.client, store.database.keys.feed()
    pipe = client.pipeline(transaction=False)
    for n in range(FEED_LENGTH + 1000):
        pipe.xadd(feed, {"kind": "token", "id": "t"}, id=f"{n + 1}-0")
    pipe.set(store.database.keys.feed_version(), FEED_LENGTH + 1000)
    await pipe.execute()
    await store.tokens.put(TokenRecord(id="t", hash="h"))
    assert await client.xlen(feed) < FEED_LENGTH + 500


async def test_a_guard_compares_the_stored_json(store: Store) -> None:
    await put(store, service())
    for values, passes in (((0,), True), (("0",), False), ((None,), False), ((1, 0), True)):
        guard = [Guard("wanted", values)]
        if passes:
            await store.database.commit("service", "x", {}, expect=guard)
        else:
            with pytest.raises(Refused, match="wanted is 0"):
                await store.database.commit("service", "x", {}, expect=guard)
    await store.database.commit("service", "x", {}, expect=[Guard("wanted", (1, 2), none=True)])


async def test_a_record_of_a_newer_version_is_read_and_an_unreadable_one_is_left_alone(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, service("x"))
    await put(store, service("y"))
    record = store.database.keys.record
    await store.database.client.hset(record("service", "x"), mapping={"invented": '{"deep": [1]}'})
    await store.database.client.hset(record("service", "y"), mapping={"wanted": '"many"'})
    assert list(await store.services.all()) == ["x"]
    assert "service y cannot be read" in caplog.text
    with pytest.raises(StokerError, match="upgrade"):
        await store.services.get("y")


# --- when the store cannot


VERB_CALLS = {
    "services.get": ("x",),
    "services.all": (),
    "services.put": (service(),),
    "services.revisions": ("x",),
    "services.wake": ("x",),
    "services.delete": (service(),),
    "services.decide": ("x", {"wanted": 1}),
    "services.forget": ("x",),
    "services.clear_dirty": (),
    "sessions.get": ("x-1",),
    "sessions.all": (),
    "sessions.create": (session_record(),),
    "sessions.place": (session_record(), "n1", ASSIGNMENT),
    "sessions.unplace": (session_record(), Reason("a", "b")),
    "sessions.keep_pending": (session_record(), Reason("a", "b")),
    "sessions.withdraw": (session_record(), Reason("a", "b")),
    "sessions.drain": (session_record(), Reason("a", "b"), 1.0),
    "sessions.hasten": (session_record(), Reason("a", "b"), 1.0),
    "sessions.lose": (session_record(), Reason("a", "b")),
    "sessions.recover": (session_record(),),
    "sessions.write_off": (session_record(), Reason("a", "b")),
    "sessions.prune": ("x-1",),
    "sessions.start": (session_record(),),
    "sessions.ready": (session_record(), "h:1"),
    "sessions.sleep": (session_record(),),
    "sessions.fail": (session_record(), Reason("a", "b")),
    "sessions.stop": (session_record(),),
    "sessions.refuse": (session_record(), Reason("a", "b")),
    "sessions.report": (session_record(), {"pid": 1}),
    "sessions.wish": (session_record(), "drain", "me"),
    "sessions.weigh": (session_record(), 1, "me"),
    "nodes.get": ("n",),
    "nodes.all": (),
    "nodes.register": (NodeRecord(name="n", address="h"),),
    "nodes.update": ("n", "i", {"cpu": 1}),
    "nodes.beat": ("n",),
    "nodes.seen": (),
    "nodes.mark": ("n", {"cordoned": True}),
    "nodes.forget": ("n",),
    "routers.beat": ("r", {"x": Load()}),
    "routers.leave": ("r",),
    "routers.live": (),
    "routers.addresses": (),
    "routers.loads": (),
    "routers.report_drain": ("r", "x-1", 0),
    "routers.drained": ("x-1",),
    "routers.set_health": ("x-1", RouteHealth()),
    "routers.forget_health": ("x-1",),
    "routers.health": (),
    "tokens.get": ("t",),
    "tokens.all": (),
    "tokens.put": (TokenRecord(id="t", hash="h"),),
    "tokens.change": ("t", {"hash": "h"}),
    "tokens.revoke": ("t",),
    "leadership.claim": ("a", 1.0),
    "leadership.resign": ("a",),
    "leadership.leader": (),
    "leadership.epoch": (),
    "events.append": (Event(object="o", reason="r", message="m", actor="a"),),
    "events.list": (),
}
_WORDS = {
    "epoch": 1, "node": "n1", "now": False, "actor": "me", "model_names": (), "new_revision": True, "refresh": False,
    "expect_version": None, "reason": "r", "message": "m",
}  # fmt: skip


def parts(store: Store) -> dict[str, object]:
    return {name: part for name, part in vars(store).items() if type(part).__module__.startswith("stoker.store.") and name != "database"}


async def call(store: Store, name: str) -> object:
    part, _, verb = name.partition(".")
    method = getattr(getattr(store, part), verb)
    keyword = [p.name for p in inspect.signature(method).parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    return await method(*VERB_CALLS[name], **{word: _WORDS[word] for word in keyword})


@pytest.fixture
async def unreachable() -> AsyncIterator[Store]:
    """A store whose server has ended."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="stoker-", dir="/tmp") as folder:
        server = EmbeddedServer(Path(folder))
        store = await Store.open(await server.start(), "t")
        await server.stop()
        yield store
        await store.close()


async def test_every_verb_says_store_unavailable_when_it_is_away(unreachable: Store) -> None:
    for name in VERB_CALLS:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await call(unreachable, name)
    for late in (unreachable.time(), unreachable.id(), unreachable.mirror("token").open()):
        with pytest.raises(StoreUnavailable):
            await late


async def test_no_verb_is_missing_from_the_table_above(store: Store) -> None:
    known = {name.partition(".")[0] for name in VERB_CALLS}
    there = {
        f"{name}.{verb}"
        for name, part in parts(store).items()
        for verb, method in inspect.getmembers(type(part), inspect.iscoroutinefunction)
        if name in known and not verb.startswith("_")
    }
    assert there == set(VERB_CALLS)


@pytest.mark.parametrize("refusal", ["OOM", "READONLY", "MISCONF", "LOADING"])
async def test_a_server_that_refuses_for_now_is_unavailable_and_any_other_error_is_ours(store: Store, refusal: str) -> None:
    script = f"return redis.error_reply('{refusal} not now')"
    with pytest.raises(StoreUnavailable) as info:
        await store.database.ask(lambda: store.database.client.eval(script, 0))
    assert refusal in str(info.value) or "does not answer" in str(info.value)
    with pytest.raises(StokerError) as wrong:
        await store.database.ask(lambda: store.database.client.eval("return redis.error_reply('ERR broken')", 0))
    assert not isinstance(wrong.value, StoreUnavailable)


async def test_a_full_store_is_unavailable_for_writes(embedded: EmbeddedServer) -> None:
    store = await Store.open(embedded.url, "t")
    await put_service(store)
    await store.database.client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="OOM"):
        await store.services.wake("x")
    await store.database.client.config_set("maxmemory", 0)
    await store.services.wake("x")
    await store.close()


def test_a_record_is_the_same_after_a_trip_through_the_store() -> None:
    record = session_record()
    assert msgspec.json.decode(msgspec.json.encode(record), type=SessionRecord) == record
