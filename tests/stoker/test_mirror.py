"""The mirror shows what the store holds, whatever happens to the store or to the way there."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from stoker.records import Reason, TokenRecord
from stoker.states import SessionStatus
from stoker.store.database import FEED_LENGTH
from stoker.store.embedded import EmbeddedServer
from stoker.store.mirror import Mirror
from stoker.store.store import Store
from tests.support.cluster import ASSIGNMENT, put_service, session_record, until

S = SessionStatus


@asynccontextmanager
async def following(store: Store, *kinds: str) -> AsyncIterator[Mirror]:
    mirror = store.mirror(*kinds)
    await mirror.open()
    task = asyncio.create_task(mirror.follow())
    try:
        yield mirror
        assert not task.done(), "the follower must not end by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def put_token(store: Store, id: str, text: str = "h") -> object:
    return store.tokens.put(TokenRecord(id=id, hash=text))


async def test_a_session_goes_through_its_arrows_and_the_mirror_sees_them(store: Store) -> None:
    epoch = (await store.leadership.claim("a", 60)).epoch
    async with following(store, "session", "service") as mirror:
        await put_service(store)
        session = session_record(node=None)
        await store.sessions.create(session, epoch=epoch)
        await store.sessions.place(session, "n1", ASSIGNMENT, epoch=epoch)
        await store.sessions.start(session, node="n1")
        await store.sessions.ready(session, "h:1", node="n1")
        await until(mirror, lambda: "x-1" in mirror.sessions and mirror.sessions["x-1"].status is S.READY)
        found = mirror.sessions["x-1"]
        assert found.address == "h:1" and found.ready_at and found == await store.sessions.get("x-1")
        assert [e.reason for e in await store.events.list("service/x")] == ["applied", "created", "placed", "starting", "ready"]
        await store.sessions.fail(session, Reason("start_exit", "exit code 1"), node="n1")
        await store.sessions.prune("x-1", epoch=epoch)
        await until(mirror, lambda: "x-1" not in mirror.sessions)


async def test_listeners_hear_every_change_and_a_deletion(store: Store) -> None:
    heard: list[tuple[str, str, object]] = []
    await put_token(store, "t0")
    async with following(store, "token") as mirror:
        mirror.listen(lambda *words: heard.append(words))
        await put_service(store)  # not a kind that is followed
        await put_token(store, "t1")
        await store.tokens.revoke("t0")
        await until(mirror, lambda: "t0" not in mirror.tokens)
    assert heard == [("token", "t1", TokenRecord(id="t1", hash="h")), ("token", "t0", None)]


async def test_it_goes_on_where_it_was_when_the_store_is_killed_and_comes_back(embedded: EmbeddedServer) -> None:
    store = await Store.open(embedded.url, "t")
    await put_token(store, "t0")
    async with following(store, "token") as mirror:
        syncs: list[str] = []
        mirror.listen(lambda kind, _id, _record: syncs.append(kind))
        for round in range(1, 4):
            assert embedded.pid is not None
            os.kill(embedded.pid, signal.SIGKILL)
            await until(mirror, lambda: not mirror.connected)
            assert "t0" in mirror.tokens, "what is known is kept meanwhile"
            await embedded.wait()
            await embedded.start()
            await put_token(store, f"t{round}")
            await until(mirror, lambda: mirror.connected and f"t{round}" in mirror.tokens)  # noqa: B023
        assert sorted(mirror.tokens) == ["t0", "t1", "t2", "t3"]
        assert "sync" not in syncs, "nothing was lost, so nothing needs to be read anew"
    await store.close()


async def test_connections_that_are_cut_while_it_waits_are_not_noticed_by_anybody(store: Store) -> None:
    async with following(store, "token") as mirror:
        for n in range(20):
            await store.database.client.client_kill_filter(_type="normal", skipme=True)
            await put_token(store, f"t{n}")
            await until(mirror, lambda: f"t{n}" in mirror.tokens)  # noqa: B023
        assert mirror.tokens == await store.tokens.all()


async def test_a_gap_in_the_feed_means_that_everything_is_read_anew(store: Store) -> None:
    await put_token(store, "t0")
    mirror = store.mirror("token")
    await mirror.open()
    for n in range(1, 30):
        await put_token(store, f"t{n}")
    await store.tokens.revoke("t0")
    await store.database.client.xtrim(store.database.keys.feed(), maxlen=3, approximate=False)
    task = asyncio.create_task(mirror.follow())
    await until(mirror, lambda: len(mirror.tokens) == 29)
    assert mirror.tokens == await store.tokens.all()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_follower_that_sleeps_through_more_than_the_feed_holds_catches_up(store: Store) -> None:
    mirror = store.mirror("token")
    await mirror.open()
    client, keys = store.database.client, store.database.keys
    await put_token(store, "early")
    await put_token(store, "late")
    pipe = client.pipeline(transaction=False)
    for n in range(3, FEED_LENGTH + 2000):
        pipe.xadd(keys.feed(), {"kind": "token", "id": "late", "time": "1"}, id=f"{n}-0", maxlen=FEED_LENGTH, approximate=True)
    pipe.set(keys.feed_version(), FEED_LENGTH + 1999)
    await pipe.execute()
    task = asyncio.create_task(mirror.follow())
    await until(mirror, lambda: mirror.version == FEED_LENGTH + 1999)
    assert sorted(mirror.tokens) == ["early", "late"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def empty(store: Store) -> None:
    """What FLUSHALL would do to this cluster."""
    names = await store.database.client.keys(f"stoker:{store.database.keys.cluster}:*")
    await store.database.client.delete(*names)


async def test_an_emptied_store_is_noticed_though_its_feed_is_silent(store: Store) -> None:
    await put_token(store, "t0")
    before = await store.id()
    async with following(store, "token") as mirror:
        assert mirror.store_id == before
        await empty(store)
        await until(mirror, lambda: mirror.store_id != before)
        assert mirror.tokens == {} and mirror.version == 0
        await put_token(store, "t1")
        await until(mirror, lambda: list(mirror.tokens) == ["t1"])


async def test_another_data_set_is_noticed_even_by_who_has_read_nothing_yet(store: Store) -> None:
    async with following(store, "token") as mirror:
        await store.database.client.set(store.database.keys.store_id(), "another")
        await until(mirror, lambda: mirror.store_id == "another")


@pytest.mark.parametrize("lost", [1, 5])
async def test_a_store_that_lost_its_last_writes_is_noticed_though_its_numbers_passed_ours(store: Store, lost: int) -> None:
    """A replica that took over, or a restored backup: the same id, a shorter history, then other writes."""
    for n in range(10):
        await put_token(store, f"t{n}")
    mirror = store.mirror("token")
    await mirror.open()
    client, keys = store.database.client, store.database.keys
    for n in range(10 - lost, 10):
        await client.delete(keys.record("token", f"t{n}"))
        await client.srem(keys.index("token"), f"t{n}")
    kept = [entry for entry, _ in await client.xrange(keys.feed())][: 10 - lost]
    rows = await client.xrange(keys.feed(), max=kept[-1])
    await client.delete(keys.feed())
    for entry, fields in rows:
        await client.xadd(keys.feed(), fields, id=entry)
    await client.set(keys.feed_version(), 10 - lost)
    for n in range(lost + 1):
        await put_token(store, f"other{n}")
    assert int(await client.get(keys.feed_version())) == mirror.version + 1, "the feed looks as if there was no gap"
    task = asyncio.create_task(mirror.follow())
    await until(mirror, lambda: mirror.version == 11)
    assert mirror.tokens == await store.tokens.all()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_older_data_set_put_in_place_of_a_newer_one_is_noticed(embedded: EmbeddedServer) -> None:
    """`stoker store restore`: the server goes away, and comes back with what was saved before."""
    store = await Store.open(embedded.url, "t")
    await put_token(store, "old")
    async with following(store, "token") as mirror:
        await until(mirror, lambda: "old" in mirror.tokens)
        dumps = {key: await store.database.client.dump(key) for key in await store.database.client.keys("stoker:t:*")}
        for n in range(3):
            await put_token(store, f"new{n}")
        await until(mirror, lambda: "new2" in mirror.tokens)
        await store.database.client.flushall()
        for key, value in dumps.items():
            await store.database.client.restore(key, 0, value)
        await until(mirror, lambda: list(mirror.tokens) == ["old"])
        assert mirror.store_id == await store.id()
    await store.close()


async def test_what_it_cannot_read_stays_as_it_was_known_and_a_newer_versions_fields_do_no_harm(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await put_token(store, "t0")
    await put_token(store, "t1")
    key = store.database.keys.record
    async with following(store, "token") as mirror:
        await store.database.client.hset(key("token", "t0"), mapping={"services": '"all of them"', "hash": '"new"'})
        await store.database.client.hset(key("token", "t1"), mapping={"invented": "[1]"})
        await store.tokens.change("t0", {"name": "n0"})
        await store.tokens.change("t1", {"name": "n1"})
        await until(mirror, lambda: mirror.tokens["t1"].name == "n1")
        assert mirror.tokens["t0"] == TokenRecord(id="t0", hash="h")
    assert "token t0 cannot be read" in caplog.text
    fresh = store.mirror("token")
    await fresh.open()
    assert list(fresh.tokens) == ["t1"]


async def test_ten_thousand_sessions_are_read_without_holding_up_the_loop(store: Store) -> None:
    client, keys = store.database.client, store.database.keys
    session = msgspec.structs.replace(session_record(status=S.READY), assignment=ASSIGNMENT, address="127.0.0.1:20000")
    fields = {name: msgspec.json.encode(getattr(session, name)) for name in session.__struct_fields__}
    for start in range(0, 10_000, 500):
        pipe = client.pipeline(transaction=False)
        for n in range(start, start + 500):
            pipe.hset(keys.record("session", f"x-{n}"), mapping=fields | {"id": msgspec.json.encode(f"x-{n}")})
            pipe.sadd(keys.index("session"), f"x-{n}")
        await pipe.execute()
    mirror = store.mirror("session")
    gaps: list[float] = []

    async def beat() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0)
            gaps.append(loop.time() - before)

    task = asyncio.create_task(beat())
    await mirror.open()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(mirror.sessions) == 10_000
    gaps.sort()
    assert gaps[int(len(gaps) * 0.99)] < 0.05 and gaps[-1] < 0.5, gaps[-5:]  # the last is the machine's noise


async def test_slow_listeners_delay_but_lose_nothing(store: Store) -> None:
    import time

    heard: list[str] = []

    def slow(_kind: str, id: str, _record: object) -> None:
        time.sleep(0.002)
        heard.append(id)

    async with following(store, "token") as mirror:
        mirror.listen(slow)
        await asyncio.gather(*(put_token(store, f"t{n}") for n in range(300)))  # type: ignore[arg-type]
        await until(mirror, lambda: len(mirror.tokens) == 300)
    assert set(heard) >= {f"t{n}" for n in range(300)}
