"""Who may make a call: each entry of the route table names one of these rules, and nothing is served without."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from router.access import Principal, require
from router.context import Context
from router.peer import client_address, is_local, within
from stoker.errors import NotAllowed

NOBODY = Principal(id="", role="", project="")
"""Stands for the caller of what needs no token."""

_EVERY_ROLE = frozenset({"admin", "deployer", "viewer", "user"})


class Rule(Enum):
    """`roles` may make the call; ANYONE needs no token; a LOCAL peer needs none, others do; ENGINES is decided by the data path; INFER is

    for jobs, of which each token sees its own.
    """

    ANYONE = ()
    ENGINES = ("engines",)
    MODELS = ("public", "admin", "deployer", "viewer", "user")
    LOCAL = ("local", "admin", "viewer")
    TOKEN = ("admin", "deployer", "viewer", "user")
    INFER = ("admin", "deployer", "user")
    READ = ("admin", "deployer", "viewer")
    WRITE = ("admin", "deployer")
    ADMIN = ("admin",)

    @property
    def roles(self) -> frozenset[str]:
        return _EVERY_ROLE & frozenset(self.value)


def permit(rule: Rule, context: Context, scope: Mapping[str, Any]) -> Principal:
    """Who makes this call. Raises Unauthenticated, TokenExpired, NotAllowed.

    1. Admin calls only from STOKER_ADMIN_ALLOW, where it is set.
    2. Nobody in particular: ANYONE; LOCAL from this machine; MODELS while a service is public.
    3. A token whose role the rule names.
    """
    if _is_fenced(context, scope):  # (1)
        raise NotAllowed("admin calls are not taken from this address (STOKER_ADMIN_ALLOW)")
    if rule is Rule.ANYONE or (rule is Rule.LOCAL and is_local(scope, context.settings.host)):  # (2)
        return NOBODY
    if rule is Rule.MODELS and context.plane.directory.has_public:
        return context.access.recognise(scope["headers"]) or NOBODY
    principal = context.access.authenticate(scope["headers"])  # (3)
    require(principal, rule.roles)
    return principal


def _is_fenced(context: Context, scope: Mapping[str, Any]) -> bool:
    allowed = context.admin_networks
    return bool(allowed) and scope["path"].startswith("/admin") and not within(client_address(scope, context.trusted_proxies), allowed)
