"""Jobs in the store: accepted once, claimed by one, committed once, whatever order the messages come in."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker.errors import IdempotencyKeyReused, NotFound, Refused, TooMany
from stoker.jobs import CRASH_LIMIT, ENDED, JobRecord, JobResult, JobStatus
from stoker.records import Reason
from stoker.store.store import Store

ANSWER = JobResult(status=200, content_type="application/json", body=b'{"a": 1}\n{"b": 2}')


def job(id: str, **more: object) -> JobRecord:
    return JobRecord(**{"id": id, "service": "s", "project": "default", "token": "t", "path": "/v1/completions", **more})  # type: ignore[arg-type]


async def accept(store: Store, id: str, **more: object) -> JobRecord:
    return await store.jobs.accept(job(id, **more), b"{}", deadline_seconds=60)


async def test_a_job_is_done_once_and_its_result_is_kept(store: Store) -> None:
    accepted = await accept(store, "j1")
    assert accepted.status is JobStatus.QUEUED and accepted.created_at > 0 and await store.jobs.waiting() == {"s": 1}
    claim = await store.jobs.claim("s", "r1")
    assert claim is not None and claim.body == b"{}" and claim.job.status is JobStatus.RUNNING and claim.epoch == 1
    assert await store.jobs.claim("s", "r2") is None and await store.jobs.waiting() == {}
    await store.jobs.succeed(claim.job, claim.epoch, ANSWER)
    with pytest.raises(Refused):
        await store.jobs.succeed(claim.job, claim.epoch, ANSWER)
    done = await store.jobs.need("j1")
    assert done.status is JobStatus.SUCCEEDED and done.finished_at and done.attempts == 1
    assert await store.jobs.result("j1") == ANSWER
    await store.jobs.forget(done)
    assert await store.jobs.get("j1") is None and await store.jobs.result("j1") is None and await store.jobs.of_project("default") == []


async def test_the_order_is_priority_then_arrival_and_a_handed_back_job_keeps_its_place(store: Store) -> None:
    for id, priority in (("low", 1), ("a", 10), ("b", 10), ("high", 90)):
        await accept(store, id, priority=priority)
    assert await store.jobs.position(await store.jobs.need("b")) == 2
    first = await store.jobs.claim("s", "r")
    assert first is not None and first.job.id == "high"
    await store.jobs.hand_back(first.job, first.epoch, crashed=False)
    order = [claim.job.id for _ in range(4) if (claim := await store.jobs.claim("s", "r"))]
    assert order == ["high", "a", "b", "low"]
    assert (await store.jobs.need("high")).crashes == 0


async def test_a_zombie_that_lost_its_claim_cannot_commit(store: Store) -> None:
    await accept(store, "j")
    stale = await store.jobs.claim("s", "r1")
    assert stale is not None
    await store.jobs.hand_back(stale.job, stale.epoch, crashed=True)
    fresh = await store.jobs.claim("s", "r2")
    assert fresh is not None and fresh.epoch == 2
    with pytest.raises(Refused):
        await store.jobs.succeed(stale.job, stale.epoch, ANSWER)
    assert await store.jobs.renew({"j": stale.epoch}) == ["j"] and await store.jobs.renew({"j": fresh.epoch}) == []
    await store.jobs.fail(fresh.job, fresh.epoch, Reason("engine_failed", "500"), ANSWER)
    assert (await store.jobs.need("j")).reason == Reason("engine_failed", "500")


async def test_the_third_crash_poisons(store: Store) -> None:
    await accept(store, "j")
    for _ in range(CRASH_LIMIT):
        claim = await store.jobs.claim("s", "r")
        assert claim is not None
        status = await store.jobs.hand_back(claim.job, claim.epoch, crashed=True)
    found = await store.jobs.need("j")
    assert status is found.status is JobStatus.FAILED and found.reason is not None and found.reason.code == "poisoned"
    assert await store.jobs.claim("s", "r") is None


async def test_a_lease_that_is_not_renewed_and_a_deadline_come_due(store: Store) -> None:
    await accept(store, "lost")
    await store.jobs.accept(job("late"), b"", deadline_seconds=0)
    claim = await store.jobs.claim("s", "r")
    assert claim is not None and claim.job.id == "lost", "what is past its deadline is not claimed"
    assert (await store.jobs.due()).orphaned == []
    async with asyncio.timeout(10):
        while not (due := await store.jobs.due()).orphaned:
            await asyncio.sleep(0.1)
    assert due.orphaned == ["lost"] and due.expired == ["late"] and due.next_in is not None
    await store.jobs.expire(await store.jobs.need("late"))
    assert (await store.jobs.need("late")).status is JobStatus.EXPIRED and (await store.jobs.due()).expired == []


async def test_an_idempotency_key_gives_the_same_job_or_a_refusal(store: Store) -> None:
    first = await store.jobs.accept(job("a"), b"x", deadline_seconds=60, idempotency_key="k")
    again = await store.jobs.accept(job("b"), b"x", deadline_seconds=60, idempotency_key="k")
    assert again.id == first.id == "a" and await store.jobs.get("b") is None
    with pytest.raises(IdempotencyKeyReused):
        await store.jobs.accept(job("c"), b"y", deadline_seconds=60, idempotency_key="k")
    assert (await store.jobs.accept(job("d", project="other"), b"y", deadline_seconds=60, idempotency_key="k")).id == "d"


async def test_a_token_has_at_most_so_many_unfinished_jobs(store: Store) -> None:
    for id in ("a", "b"):
        await store.jobs.accept(job(id), b"", deadline_seconds=60, queued_limit=2)
    with pytest.raises(TooMany):
        await store.jobs.accept(job("c"), b"", deadline_seconds=60, queued_limit=2)
    await store.jobs.cancel(await store.jobs.need("a"))
    assert (await store.jobs.accept(job("c"), b"", deadline_seconds=60, queued_limit=2)).id == "c"


async def test_twenty_runners_never_share_a_job(store: Store) -> None:
    for number in range(60):
        await accept(store, f"j{number}")

    async def run(name: str) -> list[str]:
        got = []
        while claim := await store.jobs.claim("s", name):
            got.append(claim.job.id)
        return got

    shares = await asyncio.gather(*(run(f"r{n}") for n in range(20)))
    claimed = [id for share in shares for id in share]
    assert len(claimed) == len(set(claimed)) == 60


MOVES = ("claim", "succeed", "fail", "crash", "return", "cancel", "expire")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 2)), max_size=14))
async def test_whatever_comes_in_whatever_order_a_job_ends_once(store: Store, moves: list[tuple[str, int]]) -> None:
    id = f"j{await store.database.client.incr('test-number')}"
    await store.jobs.accept(job(id, service=id), b"", deadline_seconds=60)
    ended: list[JobStatus] = []
    for move, back in moves:
        before = await store.jobs.need(id)
        try:
            match move:
                case "claim":
                    await store.jobs.claim(id, "r")
                case "succeed":
                    await store.jobs.succeed(before, before.epoch - back, ANSWER)
                case "fail":
                    await store.jobs.fail(before, before.epoch - back, Reason("x", "y"))
                case "crash" | "return":
                    await store.jobs.hand_back(before, before.epoch - back, crashed=move == "crash")
                case "cancel":
                    await store.jobs.cancel(before)
                case "expire":
                    await store.jobs.expire(before)
        except (Refused, NotFound):
            assert await store.jobs.need(id) == before, "a refused move changes nothing"
        after = await store.jobs.need(id)
        assert after.epoch >= before.epoch
        if before.status in ENDED:
            assert after == before, "an end is an end"
        elif after.status in ENDED:
            ended.append(after.status)
            assert await store.jobs.position(after) is None and id not in (await store.jobs.due()).orphaned
    assert len(ended) <= 1
