"""One leader at a time, and an epoch that only grows."""

from __future__ import annotations

import asyncio

import pytest

from stoker.errors import StaleLeader
from stoker.records import Event
from stoker.store.store import Store
from tests.support.cluster import put_service


async def test_one_of_two_claimers_leads_and_renewing_keeps_the_epoch(store: Store) -> None:
    leases = await asyncio.gather(*(store.leadership.claim(name, 30) for name in ("a", "b", "c")))
    leaders = [lease for lease in leases if lease.held]
    assert len(leaders) == 1
    holder = leaders[0].holder
    assert {lease.holder for lease in leases} == {holder} and {lease.epoch for lease in leases} == {leaders[0].epoch}
    again = await store.leadership.claim(holder, 30)
    assert again.held and again.epoch == leaders[0].epoch
    assert await store.leadership.leader() == holder


async def test_a_lease_that_runs_out_goes_to_the_next_with_a_higher_epoch(store: Store) -> None:
    first = await store.leadership.claim("a", 0.2)
    assert not (await store.leadership.claim("b", 30)).held
    async with asyncio.timeout(20):
        while not (second := await store.leadership.claim("b", 30)).held:
            await asyncio.sleep(0.02)
    assert second.epoch > first.epoch == second.epoch - 1
    back = await store.leadership.claim("a", 30)
    assert not back.held and back.holder == "b"


async def test_resigning_frees_the_lease_at_once_but_only_ones_own(store: Store) -> None:
    first = await store.leadership.claim("a", 30)
    await store.leadership.resign("b")
    assert await store.leadership.leader() == "a"
    await store.leadership.resign("a")
    assert await store.leadership.leader() is None
    assert (await store.leadership.claim("a", 30)).epoch == first.epoch + 1  # a new lease is a new epoch, for whoever
    assert await store.leadership.epoch() == first.epoch + 1


async def test_every_write_of_a_leader_about_services_is_refused_once_another_leads(store: Store) -> None:
    service = await put_service(store)
    old = (await store.leadership.claim("a", 30)).epoch
    await store.leadership.resign("a")
    new = (await store.leadership.claim("b", 30)).epoch
    event = Event(object="service/x", reason="r", message="m", actor="scheduler")
    with pytest.raises(StaleLeader):
        await store.services.decide("x", {"wanted": 3}, epoch=old, event=event)
    await store.services.delete(service, now=False, actor="me")
    with pytest.raises(StaleLeader):
        await store.services.forget("x", epoch=old)
    found = await store.services.get("x")
    assert found is not None and found.wanted == 0
    await store.services.forget("x", epoch=new)
    assert await store.services.get("x") is None
