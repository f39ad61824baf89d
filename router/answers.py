"""One place that turns an error into an HTTP answer: status, OpenAI-shaped body, headers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from stoker.errors import InvalidSpec, StokerError

RETRY_AFTER_LIMIT = 120
"""Seconds; the official clients ignore longer ones."""

_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
_RETRY_AFTER: Mapping[str, float] = {
    "rate_limit_exceeded": 1,
    "queue_full": 2,
    "no_capacity": 5,
    "store_unavailable": 2,
}
"""Seconds for errors that pass by themselves and do not say when."""

_FINAL_5XX = frozenset({"start_failed", "service_stopped"})
"""Unavailable until somebody acts: a client that tries again only waits."""

Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """What goes out: `headers` in ASGI's form, `content-length` and `x-request-id` included."""

    status: int
    headers: Headers
    body: bytes


def answer(error: Exception, request_id: str) -> Answer:
    """The answer to `error`; anything that is no StokerError becomes a 500 that tells nothing but the request's id."""
    if not isinstance(error, StokerError) or error.status == 500:
        error = StokerError("something went wrong here; the router's log has more under this request id")
    body = msgspec.json.encode({"error": _words(error, request_id)})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode("latin-1", "replace")),
        (b"x-stoker-error", error.code.encode()),
    ]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Answer(error.status, headers + _about_retries(error), body)


def _words(error: StokerError, request_id: str) -> dict[str, object]:
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    param = None if error.param is None else _sendable(error.param)
    words: dict[str, object] = {"message": _sendable(error.message), "type": kind, "code": error.code, "param": param}
    if isinstance(error, InvalidSpec) and error.line is not None:
        words["line"] = error.line
    return words | {"request_id": request_id}


def _about_retries(error: StokerError) -> Headers:
    """`Retry-After` where waiting helps; `x-should-retry: false` where it does not (the clients try 408, 409, 429 and 5xx again)."""
    wait = error.retry_after if error.retry_after is not None else _RETRY_AFTER.get(error.code)
    if wait is not None and math.isfinite(wait):
        seconds = min(RETRY_AFTER_LIMIT, max(1, math.ceil(wait)))
        return [(b"retry-after", str(seconds).encode())]
    if (error.status < 500 and error.status != 408) or error.code in _FINAL_5XX:
        return [(b"x-should-retry", b"false")]
    return []


def _sendable(text: str) -> str:
    """UTF-8 can say it: half of a surrogate pair, quoted from what a client sent, becomes `?`."""
    return text.encode("utf-8", "replace").decode()
