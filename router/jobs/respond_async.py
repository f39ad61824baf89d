"""`Prefer: respond-async` on an inference POST: the request becomes a job; with `wait=S` only if it is not answered by then."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from router.admin.call import Call
from router.context import Context
from router.jobs.api import WAIT_LIMIT, awaited
from router.jobs.submission import BODY_LIMIT, Submit, take
from router.request import Place
from router.rules import Rule, permit
from stoker.errors import InvalidRequest
from stoker.jobs import ENDED

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,5})\b")


class RespondAsync:
    """In front of the data path; everything else goes through."""

    def __init__(self, context: Context, app: ASGIApp) -> None:
        self._context = context
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        preferred = _preferred(scope)
        if preferred is None:
            await self._app(scope, receive, send)
            return
        response = await self._answer(Request(scope, receive), preferred)
        await response(scope, receive, send)

    async def _answer(self, request: Request, preferred: str) -> Response:
        """202 with the job, or within `wait` the engine's own answer."""
        call = Call(self._context, permit(Rule.INFER, self._context, request.scope), request)
        target = request.scope["raw_path"] + (b"?" + request.scope["query_string"] if request.scope["query_string"] else b"")
        place = self._context.plane.addressing.place(target, request.headers.get("host", "").encode())
        assert place is not None, "only what is for an engine comes here"
        made, id = await take(call, _words(request, place), await call.body(BODY_LIMIT))
        wait = _WAIT.search(preferred)
        if wait is not None:
            job = await awaited(call, await call.context.store.jobs.need(id), min(WAIT_LIMIT, int(wait[1])))
            kept = await call.context.store.jobs.result(id) if job.status in ENDED else None
            if kept is not None:
                return Response(kept.body, kept.status, {"content-type": kept.content_type, "preference-applied": "wait"})
        made.headers["preference-applied"] = "respond-async"
        return made


def _preferred(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    words = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"prefer").lower()
    return words if "respond-async" in words else None


def _words(request: Request, place: Place) -> Submit:
    """The same as POST /v1/jobs, as far as the request says it."""
    if "json" not in request.headers.get("content-type", "json"):
        raise InvalidRequest("Prefer: respond-async is for JSON requests", param="content-type")
    service = place.service or request.headers.get("x-stoker-service") or None
    return Submit(service=service, model=request.query_params.get("model"), path=place.target.decode("ascii", "replace"))
