"""One request as the data path sees it: what the head says, read in one pass, and where it is meant to go."""

from __future__ import annotations

import re
import urllib.parse
from typing import NamedTuple

from router.request_id import fresh_id, request_id
from stoker.errors import InvalidRequest

Headers = list[tuple[bytes, bytes]]


class Request:
    """`headers` have names in lower case; `target` is path and query as sent; `path` is decoded once, for decisions only.

    `length` is the declared length of the body, 0 where there is none, None where it comes in chunks. `passed` are the lines that
    an engine gets of the fields, once somebody has put them together.
    """

    __slots__ = (
        "_named", "asks_progress", "content_type", "continues", "headers", "host", "id", "length", "method", "origin", "passed", "path",
        "prefers_async", "service", "target", "upgrades",
    )  # fmt: skip

    def __init__(self, method: str, target: bytes, headers: Headers) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.path = path_of(target)
        self.length: int | None = 0
        self.content_type = b""
        self.host = b""
        self.service = b""
        self.origin = b""
        self.continues = self.asks_progress = self.prefers_async = self.upgrades = False
        for name, value in headers:
            if name in _READ:
                self._read(name, value)
        self.id = request_id(headers)
        self.passed: bytes | None = None
        self._named = any(name == b"x-request-id" and value.decode("latin-1") == self.id for name, value in headers)

    def again(self, length: int) -> Request:
        """The same head once more, with a body of another length; `headers` keep the old one, which nobody passes on."""
        new = Request.__new__(Request)
        new.method, new.target, new.headers, new.path, new.length = self.method, self.target, self.headers, self.path, length
        new.content_type, new.host, new.service, new.origin = self.content_type, self.host, self.service, self.origin
        new.continues, new.asks_progress, new.prefers_async = self.continues, self.asks_progress, self.prefers_async
        new.upgrades, new.passed, new._named = self.upgrades, self.passed, self._named
        new.id = self.id if self._named else fresh_id()
        return new

    def _read(self, name: bytes, value: bytes) -> None:  # noqa: C901 (a table)
        match name:
            case b"content-length":
                self.length = _length(value)
            case b"transfer-encoding":
                self.length = None
            case b"content-type":
                self.content_type = value
            case b"host":
                self.host = value
            case b"expect":
                self.continues = value.lower() == b"100-continue"
            case b"upgrade":
                self.upgrades = True
            case b"origin":
                self.origin = value
            case b"prefer":
                self.prefers_async = b"respond-async" in value.lower()
            case b"x-stoker-service":
                self.service = value
            case b"x-stoker-progress":
                self.asks_progress = value.strip() == b"1"

    def query(self, name: str) -> str | None:
        """One value of the query string."""
        text = self.target.partition(b"?")[2].decode("latin-1")
        return urllib.parse.parse_qs(text, max_num_fields=100).get(name, [None])[0] if name in text else None


_READ = frozenset({
    b"content-length", b"transfer-encoding", b"content-type", b"host", b"expect", b"upgrade", b"origin", b"prefer", b"x-stoker-service",
    b"x-stoker-progress",
})  # fmt: skip


def path_of(target: bytes) -> str:
    """The path of a target, decoded once."""
    path = target.partition(b"?")[0].decode("latin-1")
    return urllib.parse.unquote(path, errors="replace") if "%" in path else path


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise InvalidRequest("Content-Length is not a number")
    return int(value)


class Place(NamedTuple):
    """Where a request goes: to the named service, or (None) to the one whose model the body names. `target` is what the engine gets."""

    service: str | None
    target: bytes


_NAME = rb"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_BY_PATH = re.compile(rb"/services/(" + _NAME + rb")(?=[/?]|$)")
_OWN = re.compile(rb"/v1/(?:models|jobs|files|batches)(?:[/?]|$)")


class Addressing:
    """`domain` is STOKER_DOMAIN; `localhost` whether NAME.localhost is answered too."""

    def __init__(self, domain: str | None, localhost: bool) -> None:
        suffixes = [re.escape(suffix.encode()) for suffix in (domain, "localhost" if localhost else None) if suffix]
        self._by_host = re.compile(rb"(" + _NAME + rb")\.(?:" + rb"|".join(suffixes) + rb")(?::\d+)?", re.IGNORECASE) if suffixes else None

    def place(self, target: bytes, host: bytes) -> Place | None:
        """None where the request is not for an engine:

        1. A host that names a service: any path of it.
        2. /services/NAME/...: the path behind it.
        3. /v1/..., but for the router's own collections: by model.
        """
        if self._by_host is not None and (named := self._by_host.fullmatch(host)):
            return Place(named[1].decode().lower(), target)
        if target.startswith(b"/v1/"):
            return None if _OWN.match(target) else Place(None, target)
        if named := _BY_PATH.match(target):
            rest = target[named.end() :]
            return Place(named[1].decode(), rest if rest.startswith(b"/") else b"/" + rest)
        return None
