"""The router's ASGI application: what goes to engines, then the route table, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from router.admin.call import Call
from router.context import Context
from router.edge import Edge, worded
from router.inference import Inference
from router.jobs.respond_async import RespondAsync
from router.request import Addressing
from router.rules import Rule, permit
from router.table import Entry, table
from stoker.errors import StokerError


class Passage(BaseRoute):
    """What goes to an engine, by its host or its path; the data path decides who may."""

    rule = Rule.ENGINES

    def __init__(self, addressing: Addressing, app: ASGIApp) -> None:
        self._addressing = addressing
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] not in ("http", "websocket"):
            return Match.NONE, {}
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        return (Match.NONE if self._addressing.place(target, host) is None else Match.FULL), {}

    def url_path_for(self, name: str, /, **path_params: object) -> NoMatchFound:  # type: ignore[override]
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def create_app(context: Context) -> Starlette:
    """Default deny: a route is made from an entry of the table, which names its rule, or it does not exist."""
    entries = table()
    app = Starlette(
        routes=[Passage(context.plane.addressing, RespondAsync(context, Inference(context.plane))), *_routes(context, entries)],
        middleware=[Middleware(Edge)],
        exception_handlers={StokerError: worded, HTTPException: worded, Exception: worded},
    )
    app.router.redirect_slashes = False
    app.state.table = entries
    return app


def _routes(context: Context, entries: tuple[Entry, ...]) -> list[Route]:
    """One route per path, so that a wrong method is told which ones there are."""
    by_path: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        by_path.setdefault(entry.path, {})[entry.method] = entry
    return [Route(path, _endpoint(context, methods), methods=list(methods), name=path) for path, methods in by_path.items()]


def _endpoint(context: Context, methods: Mapping[str, Entry]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        entry = methods["GET" if request.method == "HEAD" else request.method]
        principal = permit(entry.rule, context, request.scope)
        return await entry.handler(Call(context, principal, request))

    return endpoint
