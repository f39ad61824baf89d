"""A router's data path on a real socket with a real store, in this process; services and sessions are written by the store's verbs."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from router.access import Access
from router.inference import Inference
from router.plane import Plane
from router.request import Addressing
from router.wire.server import Server, protocol
from stoker.clock import SystemClock
from stoker.records import Assignment, Backoff, Reason, Resolution, ServiceRecord, SessionRecord, TokenRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus
from stoker.store.store import Store
from stoker.tokens import mint

CLUSTER_KEY = b"k" * 32


class DataPath:
    """`url` of the router, `token` of a user of project default; `woken` are the names that were rung for."""

    def __init__(self, store: Store, plane: Plane, epoch: int, tokens: dict[str, str]) -> None:
        self.store = store
        self.plane = plane
        self.epoch = epoch
        self.tokens = tokens
        self.woken: list[str] = []
        self.port = 0
        self.asgi_calls = 0
        self.fast = False
        self.server: Server
        self.url = ""

    @property
    def token(self) -> str:
        return self.tokens["user"]

    def client(self, role: str = "user", **more: Any) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {self.tokens[role]}"}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=30, **more)

    async def service(self, name: str = "echo", resolved: dict[str, Any] | None = None, **spec: Any) -> ServiceRecord:
        """Apply a service; `resolved` are fields of its Resolution."""
        project = spec.get("project", "default")
        full = ServiceSpec.from_json({"name": name, "model": "demo", **spec}).to_json()
        record = ServiceRecord(name=name, project=project, owner="t", spec=full)
        saved, _ = await self.store.services.put(
            record, model_names=(name,), new_revision=True, refresh=True, expect_version=None, actor="t"
        )
        await self.store.services.decide(name, {"resolved": resolution(name, **(resolved or {}))}, epoch=self.epoch)
        await self.until(lambda: name in self.plane.directory.services and self.plane.directory.services[name].record.resolved is not None)
        return saved

    async def session(self, address: str, service: str = "echo", id: str | None = None, **resolved: Any) -> SessionRecord:
        """A READY session at `address`."""
        session = await self.starting(service, id, **resolved)
        await self.ready(session, address)
        return session

    async def starting(self, service: str = "echo", id: str | None = None, **resolved: Any) -> SessionRecord:
        id = id or f"{service}-{secrets.token_hex(3)}"
        session = SessionRecord(id=id, service=service, project="default", revision=1, status=SessionStatus.PENDING)
        await self.store.sessions.create(session, epoch=self.epoch)
        assignment = Assignment(revision=1, resolution=resolution(service, **resolved), spec={})
        await self.store.sessions.place(session, "n1", assignment, epoch=self.epoch)
        await self.store.sessions.start(session, node="n1")
        return session

    async def ready(self, session: SessionRecord, address: str) -> None:
        await self.store.sessions.ready(session, address, node="n1")
        await self.until(lambda: session.id in self.plane.directory.routes)

    async def drain(self, session: SessionRecord) -> None:
        await self.store.sessions.drain(session, Reason("stopped_by_user", "test"), 0.0, epoch=self.epoch)
        await self.until(lambda: session.id not in self.plane.directory.routes)

    async def fail(self, session: SessionRecord) -> None:
        await self.store.sessions.fail(session, Reason("start_exit", "it exited with code 1"), node="n1")
        await self.until(lambda: session.id not in self.plane.directory.routes)

    async def give_up(self, name: str = "echo") -> None:
        backoff = Backoff(failures=5, gave_up=True, last=Reason("start_exit", "it exited with code 1"))
        await self.store.services.decide(name, {"backoff": backoff}, epoch=self.epoch)

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    @property
    def in_flight(self) -> int:
        routes = [*self.plane.directory.routes.values(), *self.plane.directory.draining.values()]
        return sum(route.in_flight for route in routes)


def resolution(service: str, **fields: Any) -> Resolution:
    return Resolution(**{"variant": "demo", "why": "", "runtime": "process", "model_names": (service,), **fields})


async def _tokens(store: Store) -> dict[str, str]:
    found = {}
    for role in ("admin", "deployer", "viewer", "user"):
        minted = mint()
        await store.tokens.put(TokenRecord(id=minted.id, hash=minted.hash, name=role, role=role))
        found[role] = minted.token
    return found


@contextlib.asynccontextmanager
async def data_path(store: Store, *, fast: bool) -> AsyncIterator[DataPath]:
    """A router that serves until the block ends."""
    clock = SystemClock()
    mirror = store.mirror("service", "session", "token", "node")
    access = Access(mirror.tokens, clock)
    mirror.listen(access.token_changed)
    tokens = await _tokens(store)
    epoch = (await store.leadership.claim("test", 600)).epoch

    async def ring(name: str) -> None:
        path.woken.append(name)

    plane = Plane(
        router="r1", store=store, mirror=mirror, access=access, ring=ring, clock=clock, cluster_key=CLUSTER_KEY,
        addressing=Addressing("example.org", True),
    )  # fmt: skip
    path = DataPath(store, plane, epoch, tokens)
    path.fast = fast
    await mirror.open()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(mirror.follow()), group.create_task(plane.run())]
        async with _served(plane, path, fast=fast):
            yield path
        for task in tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def _served(plane: Plane, path: DataPath, *, fast: bool) -> AsyncIterator[None]:
    inference = Inference(plane)

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        path.asgi_calls += 1
        await inference(scope, receive, send)

    app = Starlette(routes=[Mount("/", app=counted)])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=protocol(plane, fast), ws="websockets-sansio", lifespan="off", log_level="critical",
        server_header=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = path.server = Server(config)
    task = asyncio.create_task(server._serve())
    await path.until(lambda: server.started)
    path.port = server.servers[0].sockets[0].getsockname()[1]
    path.url = f"http://127.0.0.1:{path.port}"
    try:
        yield
    finally:
        server.force_exit = True
        server.stop(1)
        await task
