"""WebSockets to engines, on all three addresses: realtime APIs, and the sockets of chat interfaces.

Found, admitted and leased like any request; then messages pass both ways until either side closes. Before that, errors are
ordinary HTTP answers. A browser, which can set no header, gives its token as the subprotocol that OpenAI's clients use.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from router import answers
from router.access import Principal
from router.directory import Service
from router.finding import find_model, find_service, identify, use
from router.plane import Plane
from router.request import Place, Request, path_of
from router.request_id import request_id
from router.route import Lease, Outcome
from router.wire.heads import Headers, passed_headers
from stoker.errors import EngineFailed, NotFound, StokerError, Unauthenticated

KEY_PROTOCOL = "openai-insecure-api-key."
MESSAGE_LIMIT = 16 * 2**20
OPEN_SECONDS = 10.0
_GONE, _BROKEN = 1001, 1011


class SocketRequest:
    """One WebSocket before its engine is known."""

    def __init__(self, plane: Plane, scope: Scope) -> None:
        target: bytes = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        offered = [str(word) for word in scope.get("subprotocols", ())]
        key = next((word.removeprefix(KEY_PROTOCOL) for word in offered if word.startswith(KEY_PROTOCOL)), None)
        headers: Headers = [*scope["headers"]]
        if key is not None and not any(name == b"authorization" for name, _ in headers):
            headers.append((b"authorization", b"Bearer " + key.encode("latin-1", "replace")))
        self.plane = plane
        self.request = Request("GET", target, headers)
        self.subprotocols = [word for word in offered if not word.startswith(KEY_PROTOCOL)]
        self.hides_key = key is not None
        self.principal: Principal | None = None
        self.denied: Unauthenticated | None = None
        self.service: Service | None = None
        place = plane.addressing.place(target, self.request.host)
        if place is None:
            raise NotFound(f"there is nothing at {self.request.path[:200]}")
        self.place: Place = place
        self.path_at_engine = path_of(place.target)

    async def lease(self) -> Lease:
        """A route, now or after waiting. Raises what an exchange refuses with."""
        identify(self)
        name = self.place.service
        use(self, find_service(self, name) if name is not None else find_model(self, None))
        assert self.service is not None
        lease = await self.plane.admission.lease(self.service, self.plane.now() + self.service.routing.queue_timeout)
        try:
            use(self, self.service)
        except StokerError:
            self.plane.admission.release(lease, Outcome.LEFT)
            raise
        return lease

    def connect(self, lease: Lease) -> connect:
        """The engine's side; the client's credentials stay here."""
        route = lease.route
        headers = passed_headers(self.request.headers, route.authorization, self.request.id)
        socket_own = (b"sec-websocket-", b"user-agent", b"origin")
        more = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if not name.startswith(socket_own)]
        target = self.place.target.decode("latin-1")
        return connect(
            f"ws://{route.address}{target}",
            additional_headers=more,
            subprotocols=self.subprotocols or None,  # type: ignore[arg-type]
            compression=None,
            proxy=None,
            open_timeout=OPEN_SECONDS,
            ping_interval=None,
            max_size=MESSAGE_LIMIT,
            user_agent_header=None,
        )


async def proxy(plane: Plane, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket."""
    await receive()  # websocket.connect
    try:
        asked = SocketRequest(plane, scope)
        lease = await asked.lease()
    except StokerError as error:
        await _refuse(scope, send, error)
        return
    outcome = Outcome.LEFT
    try:
        outcome = await _serve(asked, lease, scope, receive, send)
    finally:
        plane.admission.release(lease, outcome)


async def _serve(asked: SocketRequest, lease: Lease, scope: Scope, receive: Receive, send: Send) -> Outcome:
    try:
        engine = await asked.connect(lease)
    except InvalidStatus as error:
        await _pass_refusal(scope, send, error)
        return Outcome.FINE if error.response.status_code < 500 else Outcome.ERROR
    except (OSError, TimeoutError, InvalidHandshake) as error:
        await _refuse(scope, send, EngineFailed(f"the engine of {lease.route.service.name} takes no WebSocket: {error}"))
        return Outcome.UNREACHABLE
    own = [(b"x-stoker-session", lease.route.session.encode()), (b"x-request-id", asked.request.id.encode("latin-1"))]
    await send({"type": "websocket.accept", "subprotocol": engine.subprotocol, "headers": own})
    try:
        async with asyncio.TaskGroup() as group:
            there = group.create_task(_to_engine(receive, engine))
            back = group.create_task(_to_client(engine, send))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()
    finally:
        await engine.close()
    return Outcome.FINE


async def _to_engine(receive: Receive, engine: ClientConnection) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            code = message.get("code") or _GONE
            await engine.close(code if _may_be_sent(code) else _GONE)
            return
        data = message.get("text")
        try:
            await engine.send(data if data is not None else message["bytes"])
        except ConnectionClosed:
            return


async def _to_client(engine: ClientConnection, send: Send) -> None:
    try:
        async for data in engine:
            await send({"type": "websocket.send", **({"text": data} if isinstance(data, str) else {"bytes": data})})
        closed: Any = engine
    except ConnectionClosed:
        closed = engine
    code, reason = closed.close_code, closed.close_reason
    await send({"type": "websocket.close", "code": code if _may_be_sent(code) else _BROKEN, "reason": reason or ""})


def _may_be_sent(code: int | None) -> bool:
    """RFC 6455, 7.4: 1005, 1006 and 1015 only ever say that there was no code."""
    return code is not None and (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999)


async def _pass_refusal(scope: Scope, send: Send, error: InvalidStatus) -> None:
    """The engine's own answer instead of a WebSocket."""
    answer = error.response
    kind = answer.headers.get("content-type", "text/plain").encode("latin-1")
    await _say(scope, send, answer.status_code, [(b"content-type", kind)], bytes(answer.body or b""))


async def _refuse(scope: Scope, send: Send, error: StokerError) -> None:
    found = answers.answer(error, request_id(scope["headers"]))
    await _say(scope, send, found.status, found.headers, found.body)


async def _say(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    """An HTTP answer instead of a WebSocket, where the server can; uvicorn says 403 otherwise."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
