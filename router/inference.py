"""The reference driver: an ASGI endpoint for everything that goes to an engine. No Request object; two tasks per request.

It can do everything that wire/fast.py can, and is what runs where that one is switched off or does not apply.
"""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.types import Message, Receive, Scope, Send

from router import answers, sockets
from router.exchange import Exchange
from router.plane import Plane
from router.request import Request
from router.request_id import request_id
from router.wire.heads import Headers
from stoker.errors import NotFound, StokerError

BUFFER_LIMIT = 262_144
"""Bytes of an answer that wait for a slow client; the engine is not read beyond."""


COLLECT_LIMIT = 32 * 2**20
"""Bytes of an answer without a length for a client of HTTP/1.0, which knows no chunks; it is collected first."""


class AsgiClient:
    """What an exchange says, kept until the server takes it. `modern`: the client speaks HTTP/1.1."""

    def __init__(self, modern: bool) -> None:
        self._modern = modern
        self._collected: tuple[int, Headers, bytearray] | None = None
        self.exchange: Exchange | None = None
        self._out: deque[Message | None] = deque()  # bounded by BUFFER_LIMIT: beyond it the engine is not read
        self._news = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._waiting_bytes = 0
        self._full = False

    # the exchange's side

    def start(self, status: int, headers: Headers, body: bytes, ended: bool) -> None:
        if self._modern or any(name == b"content-length" for name, _ in headers):
            self._out.append({"type": "http.response.start", "status": status, "headers": headers})
        else:
            self._collected = (status, headers, bytearray())
        self.send(body, ended)

    def send(self, body: bytes, ended: bool) -> None:
        if self._collected is not None:
            self._collect(body, ended, *self._collected)
            return
        self._out.append({"type": "http.response.body", "body": body, "more_body": not ended})
        self._waiting_bytes += len(body)
        self._news.set()
        if self._waiting_bytes > BUFFER_LIMIT and not self._full and not ended:
            self._full = True
            self._tell_full(True)

    def _collect(self, body: bytes, ended: bool, status: int, headers: Headers, collected: bytearray) -> None:
        collected += body
        if len(collected) > COLLECT_LIMIT:
            self.cut()
        elif ended:
            self._collected = None
            self.start(status, [*headers, (b"content-length", b"%d" % len(collected))], bytes(collected), True)

    def cut(self) -> None:
        self._out.append(None)
        self._news.set()

    def hold_body(self, hold: bool) -> None:
        self._may_read.clear() if hold else self._may_read.set()

    # the server's side

    async def read(self, receive: Receive) -> None:
        """Feed the request's body to the exchange, then wait for the client to leave."""
        assert self.exchange is not None
        whole = False
        while True:
            await self._may_read.wait()
            message = await receive()
            if message["type"] == "http.disconnect":
                self.exchange.gone()
                self.cut()
                return
            if message.get("body"):
                self.exchange.body(message["body"])
            if not message.get("more_body") and not whole:
                whole = True
                self.exchange.body_ended()

    async def write(self, send: Send) -> bool:
        """Send the answer as it comes; False when it was cut off."""
        while True:
            while not self._out:
                self._news.clear()
                await self._news.wait()
            message = self._out.popleft()
            if message is None:
                return False
            self._waiting_bytes -= len(message.get("body", b""))
            await send(message)
            if self._full and self._waiting_bytes <= BUFFER_LIMIT // 2:
                self._full = False
                self._tell_full(False)
            if message.get("more_body") is False:
                return True

    def _tell_full(self, full: bool) -> None:
        if self.exchange is not None:
            self.exchange.client_full(full)


class Inference:
    """Mounted for /v1/{path}, /services/{name}/{path} and hosts that name a service."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await sockets.proxy(self._plane, scope, receive, send)
            return
        try:
            exchange = self._exchange(scope)
        except StokerError as error:
            await _refuse(scope, send, error)
            return
        client: AsgiClient = exchange.client  # type: ignore[assignment]
        try:
            exchange.begin()
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(client.read(receive))
                await client.write(send)
                reader.cancel()
        except asyncio.CancelledError:
            exchange.stop()
            await client.write(send)
            raise
        finally:
            exchange.gone()

    def _exchange(self, scope: Scope) -> Exchange:
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        request = Request(scope["method"], target, scope["headers"])
        place = self._plane.addressing.place(target, request.host)
        if place is None:
            raise NotFound(f"there is nothing at {request.path[:200]}")
        client = AsgiClient(scope["http_version"] == "1.1")
        client.exchange = Exchange(self._plane, request, place, client)
        return client.exchange


async def _refuse(scope: Scope, send: Send, error: StokerError) -> None:
    found = answers.answer(error, request_id(scope["headers"]))
    await send({"type": "http.response.start", "status": found.status, "headers": found.headers})
    await send({"type": "http.response.body", "body": found.body, "more_body": False})
