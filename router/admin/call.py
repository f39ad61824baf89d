"""One call as the handlers see it: who asks, with which words, about what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from router.access import Principal, may_see
from router.admin.shapes import Page
from router.context import Context
from stoker.errors import BodyTooLarge, InvalidRequest, NotAllowed, NotFound
from stoker.records import ServiceRecord, SessionRecord

T = TypeVar("T")
RecordT = TypeVar("RecordT")

BODY_LIMIT = 2**20
"""Bytes of an admin call's body."""

PAGE, PAGE_LIMIT = 100, 1_000
_YES, _NO = frozenset({"true", "1", "yes", ""}), frozenset({"false", "0", "no"})


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the bodies of admin calls: unknown fields are refused."""


class Call:
    """`principal` has passed the table's rule for this call; what it may see of it is asked here."""

    def __init__(self, context: Context, principal: Principal, request: Request) -> None:
        self.context = context
        self.principal = principal
        self.request = request

    # words

    def part(self, name: str) -> str:
        """A segment of the path."""
        return str(self.request.path_params[name])

    def text(self, name: str) -> str | None:
        return self.request.query_params.get(name)

    def flag(self, name: str) -> bool:
        word = self.request.query_params.get(name)
        if word is None or word.lower() in _NO:
            return False
        if word.lower() in _YES:
            return True
        raise InvalidRequest(f"{name} is true or false", param=name)

    def number(self, name: str, low: float, high: float) -> float | None:
        word = self.request.query_params.get(name)
        if word is None:
            return None
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise InvalidRequest(f"{name} is a number from {low:g} to {high:g}", param=name)
        return value

    async def body(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole body, at most `limit` bytes."""
        read = bytearray()
        async for chunk in self.request.stream():
            read += chunk
            if len(read) > limit:
                raise BodyTooLarge(f"the body is larger than {limit // 2**20} MiB")
        return bytes(read)

    async def read(self, type: type[T], limit: int = BODY_LIMIT) -> T:
        """The body as JSON of this form; no body is `{}`. Raises InvalidRequest with the field."""
        body = await self.body(limit)
        try:
            return msgspec.json.decode(body or b"{}", type=type)
        except msgspec.ValidationError as error:
            sentence, _, path = str(error).partition(" - at ")
            field = path.strip("`").removeprefix("$").removeprefix(".") or None
            raise InvalidRequest(f"{field or 'the body'}: {sentence}", param=field) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidRequest("the body is no JSON object") from None

    # what this token may see

    def sees(self, project: str, service: str | None = None) -> bool:
        return may_see(self.principal, project, service)

    def require_sight(self, what: str, project: str, service: str | None = None) -> None:
        """Raises NotAllowed for what belongs to others."""
        if not self.sees(project, service):
            raise NotAllowed(f"{what} is not among what this token may see: it is for the project {self.principal.project}")

    def service(self) -> ServiceRecord:
        """The service named in the path. Raises NotFound, NotAllowed."""
        name = self.part("name")
        record = self.context.mirror.services.get(name)
        if record is None:
            raise NotFound(f"there is no service {_short(name)}; `stoker service ls` lists them")
        self.require_sight(f"the service {name}", record.project, name)
        return record

    def session(self, id: str) -> SessionRecord:
        """A session by its id or a unique prefix of it. Raises NotFound, NotAllowed, InvalidRequest (several fit)."""
        sessions = self.context.mirror.sessions
        record = sessions.get(id)
        if record is None:
            found = [s for s in sessions.values() if id and s.id.startswith(id) and self.sees(s.project, s.service)]
            if len(found) > 1:
                ids = ", ".join(sorted(s.id for s in found)[:3])
                raise InvalidRequest(f"{_short(id)} fits {len(found)} sessions ({ids}, …); give more of the id", param="id")
            if not found:
                raise NotFound(f"there is no session {_short(id)}; `stoker session ls --all` lists them")
            record = found[0]
        self.require_sight(f"the session {record.id}", record.project, record.service)
        return record

    # answers

    def page(self, rows: Iterable[RecordT], key: Callable[[RecordT], str], show: Callable[[RecordT], T]) -> Response:
        """One page of `rows` in the order of their keys, `?limit=` long, from `?cursor=` on."""
        limit = int(self.number("limit", 1, PAGE_LIMIT) or PAGE)
        after = self.text("cursor")
        ordered = sorted((row for row in rows if after is None or key(row) > after), key=key)
        shown = ordered[:limit]
        more = key(shown[-1]) if len(ordered) > limit else None
        return answer(Page([show(row) for row in shown], more))


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def labels(text: str | None) -> dict[str, str]:
    """`a=b,c=d` as a dict. Raises InvalidRequest."""
    found: dict[str, str] = {}
    for pair in (text or "").split(","):
        if pair.strip():
            name, equals, value = pair.partition("=")
            if not equals or not name.strip():
                raise InvalidRequest("labels is NAME=VALUE, several with commas between them", param="labels")
            found[name.strip()] = value.strip()
    return found


def has_labels(record_labels: dict[str, Any], wanted: dict[str, str]) -> bool:
    return all(record_labels.get(name) == value for name, value in wanted.items())


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"
