"""A router and a runner of jobs in this process, on a real store, with engines of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from router.jobs.reach import allowed
from router.jobs.runner import Runner
from router.jobs.webhooks import Postman
from stoker.clock import SystemClock
from stoker.keyring import read_key, runner_key
from stoker.records import Assignment, Resolution
from stoker.store.store import Store
from tests.support.admin import Router, router

ENDED = ("succeeded", "failed", "cancelled", "expired")


class JobSite:
    """`site` is the router; `user` a client with a user's token."""

    def __init__(self, site: Router, user: httpx2.AsyncClient, store: Store) -> None:
        self.site, self.user, self.store = site, user, store

    async def service(self, name: str = "mine", **spec: Any) -> None:
        async with self.site.client() as admin:
            made = await admin.put(f"/admin/services/{name}", json={"name": name, "model": "demo", **spec})
            assert made.status_code in (200, 201), made.text
        await self.site.settled()

    async def engine(self, address: str, service: str = "mine", id: str | None = None, slots: int = 8) -> str:
        """A READY session of the service at this address; its id."""
        resolution = Resolution(variant="demo", why="", runtime="process", max_concurrency=slots)
        assignment = Assignment(revision=1, resolution=resolution, spec={})
        record = await self.site.session(service, id or f"{service}-aaaaa", address=address, assignment=assignment)
        await self.site.settled()
        return record.id

    async def submit(self, service: str = "mine", body: dict[str, Any] | None = None, **more: Any) -> str:
        """The id of an accepted job."""
        made = await self.user.post("/v1/jobs", json={"service": service, "body": body or {"messages": []}, **more})
        assert made.status_code == 202, made.text
        return str(made.json()["id"])

    async def job(self, id: str, wait: float = 0) -> dict[str, Any]:
        found = await self.user.get(f"/v1/jobs/{id}", params={"wait": wait})
        assert found.status_code == 200, found.text
        return dict(found.json())

    async def ended(self, id: str, seconds: float = 20) -> dict[str, Any]:
        found = await self.job(id, seconds)
        assert found["status"] in ENDED, found
        return found

    async def until(self, id: str, status: str, seconds: float = 15) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while (found := await self.job(id))["status"] != status:
                await asyncio.sleep(0.01)
        return found


@contextlib.asynccontextmanager
async def runner(site: Router, name: str = "r1") -> AsyncIterator[Runner]:
    """A runner with a mirror and a postman of its own, until the block ends."""
    settings, clock = site.context.settings, SystemClock()
    store = await Store.open(settings.store_url(), settings.cluster)
    mirror = store.mirror("service", "session")
    await mirror.open()
    key, letters = read_key(settings.key_file(), create=True), asyncio.Event()
    made = Runner(name, store, mirror, runner_key(key), clock, settings.runner_jobs_limit, letters)
    postman = Postman(store, key, allowed(settings), clock, letters)
    tasks = [asyncio.create_task(loop) for loop in (mirror.follow(), postman.run(), made.run())]
    try:
        yield made
    finally:
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()


@contextlib.asynccontextmanager
async def job_site(store: Store, folder: Path, *, run: bool = True, **settings: Any) -> AsyncIterator[JobSite]:
    """`run` False: nobody takes the jobs."""
    async with router(store, folder, **settings) as site, site.client("user") as user, contextlib.AsyncExitStack() as stack:
        user.timeout = httpx2.Timeout(70)
        if run:
            await stack.enter_async_context(runner(site))
        yield JobSite(site, user, store)
