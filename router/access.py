"""Who is asking, and what may they do: tokens looked up in the mirror, compared by hash, remembered for a while."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from stoker.clock import Clock
from stoker.errors import NotAllowed, TokenExpired, Unauthenticated
from stoker.records import ServiceRecord, TokenRecord
from stoker.tokens import ADMIN, hash_of, id_of

RUNNER = "runner"
"""The role of whoever runs jobs: inference on every service, in slots that nobody else wants; nothing else."""

REMEMBERED = 4096
"""Values of `Authorization` whose owner is known without hashing again."""

LONGEST = 512
"""Bytes of a credential; longer ones are refused before anything is computed from them."""

Headers = Iterable[tuple[bytes, bytes]]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who a token stands for. `services` () is all of its project's; `expires_at` in seconds since the epoch."""

    id: str
    role: str
    project: str
    name: str = ""
    services: tuple[str, ...] = ()
    expires_at: float | None = None

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    @property
    def is_runner(self) -> bool:
        return self.role == RUNNER

    @property
    def actor(self) -> str:
        """How events name this token."""
        return f"token {self.name}" if self.name else f"token {self.id}"


class Access:
    """Answers from the records that a mirror keeps: give it `mirror.tokens`, and `token_changed` to `mirror.listen`."""

    def __init__(self, tokens: Mapping[str, TokenRecord], clock: Clock) -> None:
        self._tokens = tokens
        self._now = clock.now
        self._known: OrderedDict[bytes, Principal] = OrderedDict()
        self._used: dict[str, float] = {}
        self._runner_key = b""

    def trust_runners(self, key: str) -> None:
        """Whoever shows this key runs jobs."""
        self._runner_key = key.encode()

    def authenticate(self, headers: Headers) -> Principal:
        """The owner of `Authorization: Bearer` or, without one, of `x-api-key`. Raises Unauthenticated, TokenExpired."""
        for name, value in headers:
            if name == b"authorization":
                principal = self._known.get(value) or self._look_up(headers)
                break
        else:
            principal = self._look_up(headers)
        now = self._now()
        if principal.expires_at is not None and now >= principal.expires_at:
            raise TokenExpired(f"the token {principal.id} has expired; ask for a new one (`stoker token create`)")
        if not principal.is_runner:
            self._used[principal.id] = now
        return principal

    def recognise(self, headers: Headers) -> Principal | None:
        """The same, where no token is needed: None without any. A wrong one is refused all the same."""
        return None if _credential(headers) is None else self.authenticate(headers)

    def token_changed(self, kind: str, id: str, record: object) -> None:
        """A listener of the mirror: what is remembered about a changed token is forgotten."""
        if kind == "sync":
            self._known.clear()
        elif kind == "token":
            for credential in [known for known, principal in self._known.items() if principal.id == id]:
                del self._known[credential]

    def take_used(self) -> dict[str, float]:
        """When each token was last used, since this was asked last. At most one entry per token that exists."""
        used, self._used = self._used, {}
        return used

    def _look_up(self, headers: Headers) -> Principal:
        """The long way; an `Authorization` header that was good is remembered as it was sent."""
        found = _credential(headers)
        if found is None:
            raise Unauthenticated("a token is needed: send `Authorization: Bearer sk-...` (`stoker env` prints one)")
        if self._runner_key and hmac.compare_digest(found.token, self._runner_key):
            return Principal(id=RUNNER, role=RUNNER, project="")
        token = found.token.decode("utf-8", "surrogateescape")
        record = self._tokens.get(id_of(token) or ADMIN) or self._tokens.get(ADMIN)
        kept = record.hash if record else "0" * 64
        if not hmac.compare_digest(hash_of(token), kept) or record is None:
            raise Unauthenticated("this token is not known here; it may have been removed (`stoker env` prints a good one)")
        principal = Principal(
            id=record.id, role=record.role, project=record.project, name=record.name, services=record.services, expires_at=record.expires_at
        )
        if found.header is not None:
            self._known[found.header] = principal
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return principal


def may_infer(principal: Principal | None, service: ServiceRecord) -> bool:
    """Whether this token (None: no valid one) may send requests to the service's engines.

    1. A public service: everyone.
    2. Admin, and whoever runs jobs: every service.
    3. Deployer and user: those of their project, or only the ones that the token names. A viewer: none.
    """
    if service.spec.get("open_to_public") is True:
        return True
    if principal is None or principal.role == "viewer":
        return False
    return principal.is_admin or principal.is_runner or may_see(principal, service.project, service.name)


def may_see(principal: Principal, project: str, service: str | None = None) -> bool:
    """Whether what belongs to `project` (and to `service` of it) is this token's business at all."""
    if principal.is_admin:
        return True
    return principal.project == project and (service is None or not principal.services or service in principal.services)


def require(principal: Principal, roles: frozenset[str]) -> None:
    """Raises NotAllowed unless the token's role is among `roles`."""
    if principal.role not in roles:
        wanted = " or ".join(sorted(roles))
        raise NotAllowed(f"this needs a token with the role {wanted}; this one is a {principal.role}'s")


class _Credential(NamedTuple):
    """`header` is the whole value of `Authorization`, None where the token came as x-api-key."""

    token: bytes
    header: bytes | None


def _credential(headers: Headers) -> _Credential | None:
    key = None
    for name, value in headers:
        if len(value) > LONGEST:
            continue
        if name == b"authorization":
            if value[:7].lower() == b"bearer ":
                return _Credential(value[7:].strip(), value)
        elif name == b"x-api-key":
            key = value
    return None if key is None else _Credential(key, None)
