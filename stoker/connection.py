"""HTTP to a router, as the command line does it: errors come back as the same exceptions that the router raised."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx2

from stoker.errors import (
    Conflict,
    InvalidRequest,
    InvalidSpec,
    MethodNotAllowed,
    NotAllowed,
    NotFound,
    RouterUnreachable,
    StokerError,
    TooMany,
    Unauthenticated,
    Unavailable,
)

PAGE_LIMIT = 1_000
"""Pages of one listing that are read before giving up."""

_BY_STATUS: Mapping[int, type[StokerError]] = {
    400: InvalidRequest, 401: Unauthenticated, 403: NotAllowed, 404: NotFound, 409: Conflict, 429: TooMany, 503: Unavailable,
}  # fmt: skip


class Connection:
    """To the router at `url` (http://host:port) with a token. Seconds. Close it, or use it in a `with`."""

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        limits = httpx2.Timeout(timeout, connect=min(5.0, timeout))
        self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=limits, trust_env=False)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def ask(
        self, method: str, path: str, *, body: object = None, text: str | bytes | None = None, headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None, timeout: float | None = None,
    ) -> Any:  # fmt: skip
        """The JSON of the answer (None where there is none). `body` is sent as JSON, `text` as it is; query values None are left out.

        Raises the StokerError that the router answered with, or RouterUnreachable.
        """
        more: dict[str, Any] = {"timeout": timeout} if timeout is not None else {}
        if body is not None:
            more["json"] = body
        elif text is not None:
            more["content"] = text
        with self._reached():
            answer = self._http.request(method, path, params=_query(query or {}), headers=dict(headers or {}), **more)
        if answer.status_code >= 400:
            raise error_of(answer.status_code, answer.content, answer.headers)
        return answer.json() if answer.content else None

    def lines(self, method: str, path: str, *, body: object = None, quiet: float | None = None, **query: object) -> Iterator[str]:
        """The lines of a streamed answer as they come; `quiet` is how long (seconds) nothing may come, None for ever."""
        limits = httpx2.Timeout(quiet, connect=5.0)
        with self._reached(), self._http.stream(method, path, params=_query(query), json=body, timeout=limits) as answer:
            if answer.status_code >= 400:
                raise error_of(answer.status_code, answer.read(), answer.headers)
            yield from answer.iter_lines()

    def items(self, path: str, **query: object) -> list[dict[str, Any]]:
        """All pages of a listing."""
        found: list[dict[str, Any]] = []
        for _ in range(PAGE_LIMIT):
            page = self.ask("GET", path, query=query)
            found += page["items"]
            if page.get("next") is None:
                break
            query["cursor"] = page["next"]
        return found

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException as error:
            raise RouterUnreachable(f"the router at {self.url} did not answer in time ({type(error).__name__})") from error
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise RouterUnreachable(f"no router answers at {self.url}: {error or type(error).__name__}") from error


def segment(name: str) -> str:
    """One path segment, whatever a user typed."""
    return quote(name, safe="") or "-"


def error_of(status: int, body: bytes, headers: Mapping[str, str]) -> StokerError:
    """The exception that an error answer stands for: its class by the code, else by the status."""
    try:
        words = json.loads(body)["error"]
        code, message, param, line = words.get("code"), str(words["message"]), words.get("param"), words.get("line")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message, param, line = None, f"the router answered {status}: {body[:200].decode(errors='replace').strip()}", None, None
    kind = MethodNotAllowed if status == 405 else _by_code().get(str(code)) or _BY_STATUS.get(status, StokerError)
    if kind is InvalidSpec:
        return InvalidSpec(message, param=param, line=line)
    wait = headers.get("retry-after", "")
    return kind(message, param=param, retry_after=float(wait) if wait.isdigit() else None)


def _by_code() -> dict[str, type[StokerError]]:
    found: dict[str, type[StokerError]] = {}
    waiting: list[type[StokerError]] = [StokerError]
    while waiting:
        kind = waiting.pop(0)
        found.setdefault(kind.code, kind)
        waiting += kind.__subclasses__()
    return found


def _query(words: Mapping[str, object]) -> dict[str, str]:
    given = {name: value for name, value in words.items() if value is not None and value is not False}
    return {name: "true" if value is True else str(value) for name, value in given.items()}
