"""The outermost layer: request ids on every answer, and every error worded in one place."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router import answers
from router.request_id import HEADER, request_id
from stoker.errors import Conflict, InvalidRequest, MethodNotAllowed, NotFound, Refused, StokerError

log = logging.getLogger(__name__)

ID = "stoker.request_id"


class Edge:
    """Pure ASGI. What nobody expected is logged with the request's id; the server logs the traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id = scope[ID] = request_id(scope["headers"])

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start" and not any(name == HEADER for name, _ in message["headers"]):
                message["headers"] = [*message["headers"], (HEADER, id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            return
        except Exception:
            log.error("request %s failed: %s %s", id, scope["method"], scope["path"][:200])
            raise


async def worded(request: Request, error: Exception) -> Response:
    """The answer to an error: raised on purpose, or (a 500 that tells nothing) by mistake."""
    found = answers.answer(known(error), request.scope[ID])
    response = Response(found.body, found.status)
    response.raw_headers = list(found.headers)
    if isinstance(error, HTTPException) and error.headers and "allow" in {name.lower() for name in error.headers}:
        response.headers["allow"] = error.headers.get("Allow", "")
    return response


def known(error: Exception) -> Exception:
    """Starlette's own errors in our words; a refusal of the store means that something else happened in between."""
    if isinstance(error, Refused):
        return Conflict(f"it has just changed: {error.message}; look again")
    if not isinstance(error, HTTPException):
        return error
    if error.status_code == 404:
        return NotFound("there is nothing here; `/admin/openapi.json` lists what there is")
    if error.status_code == 405:
        return MethodNotAllowed("this path exists, but not with this method")
    return InvalidRequest(str(error.detail)) if error.status_code < 500 else StokerError(str(error.detail))
