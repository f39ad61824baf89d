"""Runners that are killed and paused, and a store that goes away under a running job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stoker.errors import StoreUnavailable
from stoker.jobs import JobStatus
from stoker.store.embedded import EmbeddedServer
from stoker.store.store import Store
from tests.support.backend import Backend, Seen, plain
from tests.support.job_site import JobSite, job_site, runner


@contextlib.asynccontextmanager
async def runner_process(jobs: JobSite, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m router.jobs` with the site's store and key, and a data directory of its own."""
    settings = jobs.site.context.settings
    environment = {
        **os.environ, "STOKER_REDIS_URL": settings.store_url(), "STOKER_CLUSTER": settings.cluster, "STOKER_DATA_DIR": str(folder),
        "STOKER_SECRET_KEY_FILE": str(settings.key_file()),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "router.jobs", env=environment, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def arrived(engine: Backend, count: int) -> None:
    async with asyncio.timeout(20):
        while len(engine.requests) < count:
            await asyncio.sleep(0.01)


async def test_a_paused_runner_finds_that_its_job_is_anothers(store: Store, tmp_path: Path, engine: Backend) -> None:
    late = asyncio.Event()

    async def first_late(seen: Seen, writer: asyncio.StreamWriter) -> None:
        number = len(engine.requests)
        if number == 1:
            await late.wait()
        writer.write(plain(200, b'{"try": %d}' % number))

    engine.script = first_late
    async with job_site(store, tmp_path, run=False) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        async with runner_process(jobs, tmp_path / "zombie") as zombie:
            id = await jobs.submit()
            await arrived(engine, 1)
            zombie.send_signal(signal.SIGSTOP)
            late.set()  # the answer comes while nobody listens
            async with runner(jobs.site, "second"):
                job = await jobs.ended(id)
                zombie.send_signal(signal.SIGCONT)
                await asyncio.sleep(1.5)  # it commits, or tries to
        assert job == await jobs.job(id) and job["attempts"] == 2
        assert (await jobs.user.get(f"/v1/jobs/{id}/result")).json() == {"try": 2}
        kinds = [event.kind for event in await store.jobs.log.after(await store.jobs.need(id), 0)]
        assert kinds.count("done") == 1 and kinds[-1] == "done"


async def test_a_job_of_a_killed_runner_is_run_again_within_seconds(store: Store, tmp_path: Path, engine: Backend) -> None:
    async def hang(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(600)

    engine.script = hang
    async with job_site(store, tmp_path, run=False) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        async with runner_process(jobs, tmp_path / "doomed") as doomed:
            id = await jobs.submit()
            await arrived(engine, 1)
            async with runner(jobs.site, "second"):
                engine.script = Backend().script
                doomed.kill()
                died = await store.time()
                job = await jobs.ended(id)
        record = await store.jobs.need(id)
        assert job["status"] == "succeeded" and record.crashes == 1 and record.started_at is not None
        assert record.started_at - died < 6


@pytest.mark.timeout(90)
async def test_a_job_goes_on_while_the_store_is_away_and_is_committed_then(
    embedded: EmbeddedServer, tmp_path: Path, engine: Backend
) -> None:
    answered = asyncio.Event()

    async def slow(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.write(plain(200, b"{}"))

    engine.script = slow
    store = await Store.open(embedded.url, "away")
    try:
        async with job_site(store, tmp_path) as jobs:
            await jobs.service()
            await jobs.engine(engine.address)
            id = await jobs.submit()
            await arrived(engine, 1)
            await embedded.stop()
            answered.set()
            await asyncio.sleep(4)  # longer than a lease
            await embedded.start()
            async with asyncio.timeout(30):
                while (record := await _record(store, id)) is None or record.status is not JobStatus.SUCCEEDED:
                    await asyncio.sleep(0.1)
            assert (record.attempts, record.crashes) == (1, 0) and len(engine.requests) == 1, "it was not done twice"
    finally:
        await store.close()


async def _record(store: Store, id: str):  # type: ignore[no-untyped-def]
    with contextlib.suppress(StoreUnavailable):
        return await store.jobs.get(id)
    return None
