"""Jobs that run: against engines that answer, fail, hang, go down and drain, with requests that come between."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from stoker.jobs import JobStatus
from stoker.records import Reason
from stoker.store.store import Store
from tests.support.admin import router
from tests.support.backend import STREAM_HEAD, Backend, Seen, chunk, plain
from tests.support.job_site import JobSite, job_site, runner


async def hang(seen: Seen, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(600)


async def fall(seen: Seen, writer: asyncio.StreamWriter) -> None:
    raise ConnectionResetError


async def arrived(engine: Backend, count: int = 1) -> None:
    async with asyncio.timeout(15):
        while len(engine.requests) < count:
            await asyncio.sleep(0.01)


async def test_the_result_is_the_engines_own_answer(store: Store, tmp_path: Path, engine: Backend) -> None:
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        job = await jobs.ended(await jobs.submit(path="/v1/embeddings?x=1"))
        result = await jobs.user.get(f"/v1/jobs/{job['id']}/result")
        assert job["status"] == "succeeded" and result.status_code == 200 and result.json()["id"] == "x"
        assert result.headers["content-type"] == "application/json" and result.headers["x-stoker-job-status"] == "succeeded"
        seen = engine.requests[0]
        assert seen.line == "POST /v1/embeddings?x=1 HTTP/1.1" and json.loads(seen.body) == {"model": "mine", "messages": []}
        assert "authorization" not in seen.headers, "the key of runners is for routers"


@pytest.mark.parametrize(("status", "requests"), [(400, 1), (404, 1), (422, 1)])
async def test_the_clients_own_mistake_is_not_tried_again(
    store: Store, tmp_path: Path, engine: Backend, status: int, requests: int
) -> None:
    async def refuse(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(status, b'{"error": "no"}'))

    engine.script = refuse
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        job = await jobs.ended(await jobs.submit())
        assert job["status"] == "failed" and job["reason"]["code"] == "engine_refused" and len(engine.requests) == requests
        assert (await jobs.user.get(f"/v1/jobs/{job['id']}/result")).status_code == status


async def test_an_engine_that_fails_is_asked_again(store: Store, tmp_path: Path, engine: Backend) -> None:
    async def twice(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(500 if len(engine.requests) < 2 else 200, b"{}"))

    engine.script = twice
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        job = await jobs.ended(await jobs.submit())
        assert job["status"] == "succeeded" and job["attempts"] == 2 and (await store.jobs.need(job["id"])).crashes == 0


async def test_a_job_under_which_three_engines_go_down_is_poisoned(store: Store, tmp_path: Path, engine: Backend) -> None:
    async def poisonous(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await (fall if b"poison" in seen.body else ok)(seen, writer)

    async def ok(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(200, b"{}"))

    engine.script = poisonous
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        bad, good = await jobs.submit(body={"x": "poison"}), await jobs.submit()
        assert (await jobs.ended(good))["status"] == "succeeded"
        job = await jobs.ended(bad, 30)
        assert (job["status"], job["reason"]["code"], job["attempts"]) == ("failed", "poisoned", 3)
        assert sum(b"poison" in seen.body for seen in engine.requests) == 3, "the router did not try by itself"


async def test_cancelling_closes_the_engines_request(store: Store, tmp_path: Path, engine: Backend) -> None:
    engine.script = hang
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        id = await jobs.submit()
        await arrived(engine)
        assert (await jobs.user.delete(f"/v1/jobs/{id}")).json()["status"] == "cancelled"
        await asyncio.wait_for(engine.aborted.wait(), 5)


async def test_a_job_ends_at_its_deadline_waiting_or_running(store: Store, tmp_path: Path, engine: Backend) -> None:
    engine.script = hang
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        waiting = await jobs.submit(deadline_seconds=0.5)
        assert (await jobs.ended(waiting))["status"] == "expired" and engine.requests == []
        await jobs.engine(engine.address)
        running = await jobs.submit(deadline_seconds=1)
        assert (await jobs.ended(running))["status"] == "expired" and len(engine.requests) == 1
        await asyncio.wait_for(engine.aborted.wait(), 5)


async def test_a_stream_is_logged_chunk_by_chunk_and_read_on_through_another_router(store: Store, tmp_path: Path, engine: Backend) -> None:
    go_on = asyncio.Event()

    async def stream(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(b"".join(b'data: {"n": %d}\n\n' % n for n in range(5))))
        await go_on.wait()
        writer.write(b"".join(chunk(b'data: {"n": %d}\n\n' % n) for n in range(5, 10)) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    engine.script = stream
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        id = await jobs.submit(body={"stream": True})
        first = await read_events(jobs, id, until=lambda events: len([e for e in events if e[1] == "chunk"]) == 5)
        async with router(store, tmp_path / "other") as other:
            other.tokens["user"] = jobs.site.tokens["user"]
            async with other.client("user") as client:
                go_on.set()
                answer = await client.get(f"/v1/jobs/{id}/events", headers={"last-event-id": str(first[-1][0])}, timeout=20)
        events = first + parsed(answer.text)
        assert [number for number, _, _ in events] == list(range(1, len(events) + 1)), "none twice, none missing"
        assert [json.loads(data)["n"] for _, kind, data in events if kind == "chunk"] == list(range(10))
        assert events[-1][1] == "done" and json.loads(events[-1][2])["status"] == "succeeded"
        result = await jobs.user.get(f"/v1/jobs/{id}/result")
        assert result.headers["content-type"].startswith("text/event-stream") and result.text.endswith("data: [DONE]\n\n")


async def read_events(jobs: JobSite, id: str, until) -> list[tuple[int, str, str]]:  # type: ignore[no-untyped-def]
    text = ""
    async with asyncio.timeout(20), jobs.user.stream("GET", f"/v1/jobs/{id}/events") as answer:
        async for part in answer.aiter_text():
            text += part
            if until(parsed(text)):
                return parsed(text)
    raise AssertionError(text)


def parsed(text: str) -> list[tuple[int, str, str]]:
    found = []
    for block in text.split("\n\n")[:-1]:
        words = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if "id" in words:
            found.append((int(words["id"]), words["event"], words["data"]))
    return found


async def test_a_request_that_would_wait_gets_the_slot_of_a_job(store: Store, tmp_path: Path, engine: Backend) -> None:
    async def slow_jobs(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if b"job" in seen.body and sum(b"job" in s.body for s in engine.requests) <= 2:
            await hang(seen, writer)
        writer.write(plain(200, b"{}"))

    engine.script = slow_jobs
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        await jobs.engine(engine.address, slots=2)
        ids = [await jobs.submit(body={"x": "job"}) for _ in range(2)]
        await arrived(engine, 2)
        answer = await asyncio.wait_for(jobs.user.post("/v1/chat/completions", json={"model": "mine"}), 5)
        assert answer.status_code == 200
        younger = await jobs.ended(ids[1])
        assert younger["status"] == "succeeded" and younger["attempts"] >= 2, "handed back, and run again"
        records = [await store.jobs.need(id) for id in ids]
        assert records[0].status is JobStatus.RUNNING and [record.crashes for record in records] == [0, 0], "the older one runs on"


async def test_a_session_that_drains_hands_its_jobs_back_without_a_crash(store: Store, tmp_path: Path, engine: Backend) -> None:
    engine.script = hang
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        session = await jobs.engine(engine.address)
        id = await jobs.submit()
        await arrived(engine)
        epoch = (await store.leadership.claim("test", 600)).epoch
        record = await store.sessions.get(session)
        assert record is not None
        await store.sessions.drain(record, Reason("stopped_by_user", "test"), 0.0, epoch=epoch)
        job = await jobs.until(id, "queued")
        assert job["attempts"] == 1 and (await store.jobs.need(id)).crashes == 0
        await asyncio.wait_for(engine.aborted.wait(), 5)


async def test_deleting_the_service_fails_its_queue(store: Store, tmp_path: Path) -> None:
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        ids = [await jobs.submit() for _ in range(3)]
        async with jobs.site.client() as admin:
            assert (await admin.delete("/admin/services/mine")).status_code == 202
        for id in ids:
            job = await jobs.ended(id)
            assert (job["status"], job["reason"]["code"]) == ("failed", "service_removed")


async def test_a_runner_that_ends_gives_its_jobs_to_the_next(store: Store, tmp_path: Path, engine: Backend) -> None:
    engine.script = hang
    async with job_site(store, tmp_path, run=False) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        async with runner(jobs.site, "first"):
            id = await jobs.submit()
            await arrived(engine)
        assert (await jobs.job(id))["status"] == "queued" and (await store.jobs.need(id)).crashes == 0
        engine.script = Backend().script
        async with runner(jobs.site, "second"):
            assert (await jobs.ended(id))["status"] == "succeeded"


async def test_jobs_wake_a_sleeping_service_once_enough_of_them_wait(store: Store, tmp_path: Path) -> None:
    async with job_site(store, tmp_path) as jobs:
        await jobs.service("now", replicas={"min": 0, "max": 1})
        await jobs.service("three", replicas={"min": 0, "max": 1}, autoscaling={"jobs_wake": {"waiting": 3}})
        for service in ("now", "three", "three"):
            await jobs.submit(service)
        async with asyncio.timeout(10):
            while not await woken(store, "now"):
                await asyncio.sleep(0.02)
        assert not await woken(store, "three")
        await jobs.submit("three")
        async with asyncio.timeout(10):
            while not await woken(store, "three"):
                await asyncio.sleep(0.02)


async def woken(store: Store, name: str) -> bool:
    record = await store.services.get(name)
    assert record is not None
    return record.woken_at > 0


async def test_a_request_may_prefer_to_become_a_job(store: Store, tmp_path: Path, engine: Backend) -> None:
    body, prefer = {"model": "mine", "messages": []}, {"prefer": "respond-async"}
    async with job_site(store, tmp_path) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        for address, path in (("/v1/chat/completions", "/v1/chat/completions"), ("/services/mine/generate?x=1", "/generate?x=1")):
            made = await jobs.user.post(address, json=body, headers=prefer)
            assert made.status_code == 202 and made.headers["preference-applied"] == "respond-async"
            assert made.json()["path"] == path and made.headers["location"] == f"/v1/jobs/{made.json()['id']}"
            assert (await jobs.ended(made.json()["id"]))["status"] == "succeeded"
        answered = await jobs.user.post("/v1/chat/completions", json=body, headers={"prefer": "respond-async, wait=20"})
        assert answered.status_code == 200 and answered.json()["id"] == "x"
        engine.script = hang
        late = await jobs.user.post("/v1/chat/completions", json=body, headers={"prefer": "respond-async, wait=1"})
        assert late.status_code == 202
        async with jobs.site.client("none") as nobody, jobs.site.client("viewer") as viewer:
            assert (await nobody.post("/v1/chat/completions", json=body, headers=prefer)).status_code == 401
            assert (await viewer.post("/v1/chat/completions", json=body, headers=prefer)).status_code == 403
