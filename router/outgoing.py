"""What goes out to an engine: the head as it gets it, and as much of the body as is here."""

from __future__ import annotations

from router.body import Body, chunk
from router.request import Place, Request
from router.route import Route
from router.wire.heads import passed_lines

_BODYLESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"})


def model_at(route: Route, place: Place) -> str | None:
    """What the engine calls the model, where that is not what clients send."""
    return route.resolution.upstream_model if place.target.startswith(b"/v1/") else None


def message(request: Request, place: Place, route: Route, body: Body, complete: bool) -> bytes:
    """Head and body in one piece. A body that is whole has a length, whatever it came with; else it goes on as it was declared."""
    model = model_at(route, place)
    if model is not None and complete and body.size:
        body.replace_model(model)
    data = body.kept
    length: int | None = len(data)
    chunked = False
    if complete:
        if not data and request.method in _BODYLESS:
            length = None
    else:
        length, chunked = request.length, request.length is None
        data = chunk(data) if chunked else data
        body.forget()
    if length is not None:
        framing = b"content-length: %d\r\n" % length
    else:
        framing = b"transfer-encoding: chunked\r\n" if chunked else b""
    if request.passed is None:
        request.passed = passed_lines(request.headers)
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b%bx-request-id: %b\r\n%b\r\n%b" % (
        request.method.encode(), place.target, route.address.encode(), request.passed, route.authorization, request.id.encode("latin-1"),
        framing, data,
    )  # fmt: skip
