"""Heads of requests and answers on the wire: what is read from them, what is passed on, what never is.

Hop-by-hop fields (RFC 9110, 7.6.1) end here, in both directions. A client's credentials, cookies and whatever it says about
hosts and proxies never reach an engine; an engine's `Server`, `Date` and `Set-Cookie` never reach a client.
"""

from __future__ import annotations

from typing import Any

Headers = list[tuple[bytes, bytes]]


_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"trailers", b"transfer-encoding", b"upgrade",
    b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info", b"http2-settings", b"alt-svc",
})  # fmt: skip
_SECRET = frozenset({b"authorization", b"x-api-key", b"api-key", b"cookie", b"cookie2"})
_FORGED = frozenset({
    b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix",
    b"x-real-ip", b"x-original-url", b"x-rewrite-url", b"x-original-host", b"x-http-method-override",
})  # fmt: skip
_OWN = frozenset({b"host", b"content-length", b"expect", b"x-request-id", b"x-stoker-service", b"x-stoker-progress", b"prefer"})

DROPPED_OF_REQUEST = _HOP | _SECRET | _FORGED | _OWN
DROPPED_OF_ANSWER = _HOP | {
    b"server", b"date", b"set-cookie", b"x-request-id", b"x-stoker-session", b"x-stoker-error", b"x-stoker-queued-ms",
}  # fmt: skip


def listed_in_connection(headers: Headers) -> frozenset[bytes]:
    """The names that `Connection` makes hop-by-hop."""
    names: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            names.update(word.strip().lower() for word in value.split(b","))
    return frozenset(names)


def passed_headers(headers: Headers, authorization: bytes, request_id: str) -> Headers:
    """What an engine gets of a client's fields, and its own key. `authorization` is a whole line or empty."""
    dropped = DROPPED_OF_REQUEST | listed_in_connection(headers)
    found = [(name, value) for name, value in headers if name.replace(b"_", b"-") not in dropped]
    if authorization:
        found.append((b"authorization", authorization.partition(b": ")[2].strip()))
    return [*found, (b"x-request-id", request_id.encode("latin-1"))]


def passed_lines(headers: Headers) -> bytes:
    """The lines that an engine gets of a client's fields."""
    dropped = DROPPED_OF_REQUEST
    parts: list[Any] = []
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            dropped = dropped | listed_in_connection(headers)
            break
    for name, value in headers:
        if name not in dropped and (b"_" not in name or name.replace(b"_", b"-") not in dropped):
            parts += (name, b": ", value, b"\r\n")
    return b"".join(parts)


def answer_headers(headers: Headers) -> Headers:
    """What a client gets of an engine's fields. Names are in lower case."""
    dropped = DROPPED_OF_ANSWER
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            dropped = dropped | listed_in_connection(headers)
            break
    return [(name, value) for name, value in headers if name not in dropped]
