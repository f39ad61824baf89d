"""/admin/tokens: make, list, rotate, revoke. The secret is told once and never kept."""

from __future__ import annotations

import re

import msgspec
from starlette.responses import Response

from router.admin import views
from router.admin.call import Call, Words, answer
from stoker.errors import InvalidRequest, NotAllowed, NotFound
from stoker.records import TokenRecord
from stoker.resources import parse_duration
from stoker.tokens import ROLES, mint

EXPIRES = "90d"
"""How long a token lives unless its maker says otherwise (`never` is possible)."""

OVERLAP = "24h"
LIMITS = frozenset({"requests_per_minute", "tokens_per_minute", "concurrent_requests", "total_tokens", "gpu_seconds", "jobs_queued"})
ENFORCED = frozenset({"jobs_queued"})
"""The limits that something holds today."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MOST_SERVICES = 256
_MOST_NAME = 200
_MOST_LIMIT = 2**53


class Create(Words, frozen=True):
    """`expires` is a duration (`30d`, seconds) or `never`; `services` () is all of the project's."""

    name: str = ""
    project: str | None = None
    role: str = "user"
    services: tuple[str, ...] = ()
    expires: str | int | float = EXPIRES
    limits: dict[str, int] = msgspec.field(default_factory=dict)


class Rotate(Words, frozen=True):
    """For so long the old token still works."""

    overlap: str | int | float = OVERLAP


async def index(call: Call) -> Response:
    """Tokens that still work, with `?all=true` also expired ones. Never their secrets."""
    now, everything, project = call.context.pulse.now(), call.flag("all"), call.text("project")
    rows = (
        record
        for record in call.context.mirror.tokens.values()
        if not record.hidden
        and call.sees(record.project)
        and (project is None or record.project == project)
        and (everything or record.expires_at is None or record.expires_at > now)
    )
    return call.page(rows, lambda record: record.id, views.token)


async def create(call: Call) -> Response:
    """A new token; the answer has the secret as `token`, this once."""
    words = await call.read(Create)
    project = words.project or call.principal.project
    _check(words, project)
    _require_right(call, words.role, project)
    seconds, now = _seconds(words.expires, "expires"), await call.context.store.time()
    made = mint()
    record = TokenRecord(
        id=made.id,
        hash=made.hash,
        name=words.name,
        project=project,
        role=words.role,
        services=words.services,
        created_at=now,
        expires_at=None if seconds is None else now + seconds,
        limits=words.limits,
    )
    return await _keep(call, record, made.token, None)


async def rotate(call: Call) -> Response:
    """A new token with the same rights; the old one ends after `overlap`."""
    old = _token(call)
    overlap = _seconds((await call.read(Rotate)).overlap, "overlap")
    now = await call.context.store.time()
    made = mint()
    ends = [moment for moment in (old.expires_at, None if overlap is None else now + overlap) if moment is not None]
    life = None if old.expires_at is None else max(0.0, old.expires_at - old.created_at)
    expires = None if life is None else now + life
    record = msgspec.structs.replace(old, id=made.id, hash=made.hash, created_at=now, expires_at=expires, last_used_at=None)
    await call.context.store.tokens.change(old.id, {"expires_at": min(ends) if ends else None})
    return await _keep(call, record, made.token, old.id)


async def revoke(call: Call) -> Response:
    """Gone at once; every router knows within a second."""
    record = _token(call)
    written = await call.context.store.tokens.revoke(record.id)
    await call.context.caught_up(written.version)
    return Response(status_code=204)


async def _keep(call: Call, record: TokenRecord, secret: str, replaces: str | None) -> Response:
    written = await call.context.store.tokens.put(record)
    await call.context.caught_up(written.version)
    notes = [f"limits.{limit} has no effect yet: this version does not enforce it" for limit in record.limits if limit not in ENFORCED]
    return answer(views.token(record, secret=secret, replaces=replaces, notes=notes), 201, {"cache-control": "no-store"})


def _token(call: Call) -> TokenRecord:
    id = call.part("id")
    record = call.context.mirror.tokens.get(id)
    if record is None:
        raise NotFound(f"there is no token {id[:80]}; `stoker token ls --all` lists them by id")
    if record.hidden:
        raise NotAllowed("the cluster's own admin token is changed by STOKER_ADMIN_TOKEN, or by its file in the data directory")
    call.require_sight(f"the token {record.id}", record.project)
    _require_right(call, record.role, record.project)
    return record


def _require_right(call: Call, role: str, project: str) -> None:
    """An admin handles every token; a deployer those of users of its own project."""
    call.require_sight(f"the project {project}", project)
    if not call.principal.is_admin and (role != "user" or call.principal.services):
        raise NotAllowed(f"only an admin handles tokens with the role {role}; a deployer those with the role user")


def _check(words: Create, project: str) -> None:
    if words.role not in ROLES:
        raise InvalidRequest(f"role is one of {', '.join(ROLES)}", param="role")
    if not _NAME.fullmatch(project):
        raise InvalidRequest("project is 1 to 63 of a-z, 0-9 and -", param="project")
    if len(words.name) > _MOST_NAME or not words.name.isprintable():
        raise InvalidRequest(f"name is one line of at most {_MOST_NAME} characters", param="name")
    if len(words.services) > _MOST_SERVICES or not all(_NAME.fullmatch(service) for service in words.services):
        raise InvalidRequest(f"services is a list of at most {_MOST_SERVICES} names of services", param="services")
    for limit, value in words.limits.items():
        if limit not in LIMITS:
            raise InvalidRequest(f"limits are {', '.join(sorted(LIMITS))}", param=f"limits.{limit[:80]}")
        if not 0 <= value <= _MOST_LIMIT:
            raise InvalidRequest(f"{limit} is a whole number from 0", param=f"limits.{limit}")


def _seconds(word: str | float, field: str) -> float | None:
    """Of a duration; None for `never`."""
    if word == "never":
        return None
    try:
        return parse_duration(word)
    except ValueError as error:
        raise InvalidRequest(f"{field}: {error}; or never", param=field) from None
