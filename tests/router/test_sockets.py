"""WebSockets pass both ways, on every address, with the same rules as requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from stoker.keyring import session_key
from tests.support.data_path import CLUSTER_KEY, DataPath


class Talker:
    """An engine that echoes, and closes with 4001 when it hears `bye`."""

    def __init__(self) -> None:
        self.address = ""
        self.heard: list[ServerConnection] = []
        self.left = asyncio.Event()

    async def serve(self, socket: ServerConnection) -> None:
        self.heard.append(socket)
        try:
            async for message in socket:
                if message == "bye":
                    await socket.close(4001, "so long")
                else:
                    await socket.send(message)
        finally:
            self.left.set()


@pytest.fixture
async def talker() -> AsyncIterator[Talker]:
    made = Talker()

    def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return offered[0] if offered else None

    async with serve(made.serve, "127.0.0.1", 0, select_subprotocol=choose) as server:
        made.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


@pytest.fixture
async def ready(router: DataPath, talker: Talker) -> DataPath:
    await router.service()
    await router.session(talker.address, takes_key=True)
    return router


def _at(router: DataPath, path: str, token: str | None = None, **more: object) -> connect:
    headers = {"authorization": f"Bearer {token or router.token}"}
    return connect(f"ws://127.0.0.1:{router.port}{path}", additional_headers=headers, proxy=None, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/v1/realtime?model=echo", "/services/echo/v1/realtime?model=echo"])
async def test_messages_pass_both_ways(ready: DataPath, talker: Talker, path: str) -> None:
    async with _at(ready, path) as socket:
        for message in ("text", b"\0bytes", "x" * 200_000):
            await socket.send(message)
            assert await socket.recv() == message
        assert ready.in_flight == 1
    request = talker.heard[0].request
    assert request is not None and request.path == "/v1/realtime?model=echo"
    (session,) = ready.plane.directory.routes
    assert request.headers["authorization"] == f"Bearer {session_key(CLUSTER_KEY, session)}"
    await asyncio.wait_for(talker.left.wait(), 1)
    await ready.until(lambda: ready.in_flight == 0)


async def test_a_host_names_the_service_and_a_browser_gives_its_token_as_a_subprotocol(ready: DataPath, talker: Talker) -> None:
    protocols = ["realtime", f"openai-insecure-api-key.{ready.token}"]
    url = f"ws://echo.localhost:{ready.port}/socket"
    async with connect(url, host="127.0.0.1", port=ready.port, subprotocols=protocols, proxy=None) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "realtime"
        await socket.send("hello")
        assert await socket.recv() == "hello"
    request = talker.heard[0].request
    assert request is not None and ready.token not in str(request.headers) and request.path == "/socket"


async def test_the_engines_end_reaches_the_client(ready: DataPath) -> None:
    async with _at(ready, "/v1/realtime?model=echo") as socket:
        await socket.send("bye")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (4001, "so long")


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [("/v1/realtime?model=echo", "sk-wrong", 401), ("/v1/realtime?model=nothing", None, 404), ("/services/nothing/x", None, 404)],
)
async def test_errors_are_ordinary_answers(ready: DataPath, path: str, token: str | None, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with _at(ready, path, token):
            pass
    assert refused.value.response.status_code == status and b"request_id" in (refused.value.response.body or b"")


async def test_an_engine_that_is_gone(router: DataPath) -> None:
    await router.service()
    await router.session("127.0.0.1:9")
    with contextlib.suppress(ConnectionClosed), pytest.raises(InvalidStatus) as refused:
        async with _at(router, "/v1/realtime?model=echo"):
            pass
    assert refused.value.response.status_code == 502 and router.in_flight == 0
