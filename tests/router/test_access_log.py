"""The access log: one line per request that was for an engine, whatever became of it, and nothing that is nobody's business."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2

from router.access_log import LINES_LIMIT, AccessLog
from tests.support.backend import Backend
from tests.support.data_path import DataPath
from tests.support.raw_requests import CHAT, body


async def test_each_request_is_one_line_of_ids_and_timings(router: DataPath, engine: Backend) -> None:
    written: list[str] = []
    log = router.plane.access_log = AccessLog(written.append)
    await router.service()
    session = await router.session(engine.address)
    async with router.client() as http:
        secret = "my prompt is a secret"
        headers = {"x-request-id": "mine-1", "cookie": secret}
        answer = await http.post(f"{CHAT}?q={secret}", json=body() | {"prompt": secret}, headers=headers)
        assert answer.status_code == 200
        assert (await http.post(CHAT, json={"model": secret})).status_code == 404
    async with httpx2.AsyncClient(base_url=router.url) as stranger:
        assert (await stranger.post(CHAT, json=body())).status_code == 401
    log.flush()
    lines: list[dict[str, Any]] = [json.loads(line) for line in "".join(written).splitlines()]
    assert [line["status"] for line in lines] == [200, 404, 401]
    first = lines[0]
    assert first["id"] == "mine-1" and first["path"] == CHAT and first["service"] == "echo" and first["session"] == session.id
    assert 0 < first["first_byte"] <= first["seconds"] < 30 and first["kind"] == "access" and first["method"] == "POST"
    assert first["token"] == lines[1]["token"] and "token" not in lines[2] and "session" not in lines[1]
    assert secret not in "".join(written) and router.token not in "".join(written)


async def test_the_plane_writes_what_waits_by_itself(fast_router: DataPath, engine: Backend) -> None:
    came = asyncio.Event()
    fast_router.plane.access_log = AccessLog(lambda text: came.set())
    await fast_router.service()
    await fast_router.session(engine.address)
    async with fast_router.client() as http:
        assert (await http.post(CHAT, json=body())).status_code == 200
    await asyncio.wait_for(came.wait(), 10)


async def test_lines_that_nobody_takes_are_bounded(fast_router: DataPath, engine: Backend) -> None:
    log = AccessLog(lambda text: None)
    await fast_router.service()
    await fast_router.session(engine.address)
    fast_router.plane.access_log = log
    log._lines.extend([None] * LINES_LIMIT)  # type: ignore[list-item]
    log.flush = lambda: None  # type: ignore[method-assign]
    async with fast_router.client() as http:
        assert (await http.post(CHAT, json=body())).status_code == 200
    assert log.dropped == 1 and len(log._lines) == LINES_LIMIT
