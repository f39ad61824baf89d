"""A worker's own HTTP as a router sees it: logs of sessions and facts of models, guarded by the node's key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from router.wire.server import Server
from stoker.keyring import worker_key


class WorkerHttp:
    """`lines` by session; `say` adds one for those that follow; `asked` are the queries of the calls. `facts` by model."""

    def __init__(self, key: str) -> None:
        self.url = ""
        self.lines: dict[str, list[str]] = {}
        self.ended: set[str] = set()
        self.asked: list[dict[str, str]] = []
        self.facts: dict[str, dict[str, object]] = {}
        self.hangs = False
        self.followers = 0
        self._key = key
        self._news = asyncio.Condition()

    async def say(self, session: str, line: str) -> None:
        async with self._news:
            self.lines.setdefault(session, []).append(line)
            self._news.notify_all()

    async def end(self, session: str) -> None:
        async with self._news:
            self.ended.add(session)
            self._news.notify_all()

    async def logs(self, request: Request) -> Response:
        session = request.path_params["session"]
        self.asked.append(dict(request.query_params))
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return PlainTextResponse("wrong key", 401)
        if session not in self.lines:
            return PlainTextResponse("unknown", 404)
        lines = self.lines[session]
        tail = request.query_params.get("tail")
        start = max(0, len(lines) - int(tail)) if tail is not None else 0
        if request.query_params.get("follow") != "1":
            return PlainTextResponse("".join(line + "\n" for line in lines[start:]))
        return StreamingResponse(self._follow(session, start), media_type="text/plain")

    async def known(self, request: Request) -> Response:
        self.asked.append(dict(request.query_params))
        if self.hangs:
            await asyncio.sleep(3600)
        if request.headers.get("authorization") != f"Bearer {self._key}":
            return PlainTextResponse("wrong key", 401)
        return JSONResponse(self.facts.get(request.query_params["model"], {"missing": "there is no such folder"}))

    async def _follow(self, session: str, position: int) -> AsyncIterator[str]:
        self.followers += 1
        try:
            while True:
                while position < len(self.lines[session]):
                    yield self.lines[session][position] + "\n"
                    position += 1
                if session in self.ended:
                    return
                async with self._news:
                    if position == len(self.lines[session]) and session not in self.ended:
                        await self._news.wait()
        finally:
            self.followers -= 1


@contextlib.asynccontextmanager
async def worker_http(cluster_key: bytes, node: str) -> AsyncIterator[WorkerHttp]:
    found = WorkerHttp(worker_key(cluster_key, node))
    app = Starlette(routes=[Route("/logs/{session}", found.logs), Route("/facts", found.known)])
    server = Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, ws="none"))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.005)
        found.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield found
        finally:
            server.force_exit = True
            server.stop(0)
            await running
