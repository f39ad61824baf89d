"""A spec becomes what is wanted: compared with what is stored, written under its version, and the scheduler told."""

from __future__ import annotations

from typing import NamedTuple

from router.admin.endpoint import endpoint
from router.context import Context
from stoker.errors import VersionConflict
from stoker.records import ServiceRecord
from stoker.specs import ServiceSpec, changes_sessions, refuse_frozen, without_effect

_RETRIES = 5


class Applied(NamedTuple):
    """The record as stored now; `notes` are sentences about what of the spec has no effect."""

    record: ServiceRecord
    created: bool
    changed: bool
    notes: list[str]


async def apply(
    context: Context, spec: ServiceSpec, *, owner: str, actor: str, expect: int | None = None, restart: bool = False, refresh: bool = False
) -> Applied:
    """Store the spec. `expect`: the version it must have (0: must be new); `restart`: all sessions anew, even of the same
    spec, and with `refresh` what auto chose is chosen anew.

    Raises InvalidSpec (a field that cannot change), VersionConflict, ModelNameTaken, Conflict (being deleted), StoreUnavailable.
    """
    for attempt in range(_RETRIES):
        old = await context.store.services.get(spec.name)
        try:
            return await _write(context, spec, old, owner, actor, expect, restart, refresh)
        except VersionConflict:
            if expect is not None or attempt == _RETRIES - 1:
                raise
    raise AssertionError("unreachable")


async def _write(
    context: Context, spec: ServiceSpec, old: ServiceRecord | None, owner: str, actor: str, expect: int | None, restart: bool, refresh: bool
) -> Applied:
    """Once, against the version that the comparison was made with: what another writer did in between is not lost."""
    replaces = restart or refresh
    if old is not None and old.deleted_at is None:
        before = ServiceSpec.from_json(old.spec)
        refuse_frozen(before, spec)
        differs = changes_sessions(before, spec)
        replaces, refresh = replaces or differs, refresh or differs
    wanted = ServiceRecord(
        name=spec.name,
        project=spec.project,
        owner=owner,
        spec=spec.to_json(),
        endpoint=endpoint(spec.name, context.settings, context.address),
    )
    record, written = await context.store.services.put(
        wanted,
        model_names=held_names(spec),
        new_revision=replaces,
        refresh=refresh,
        expect_version=expect if expect is not None else old.version if old else 0,
        actor=actor,
    )
    if written.changed:
        await context.ring(spec.name)
        await context.caught_up(written.version)
    return Applied(record, old is None, written.changed, without_effect(spec))


def held_names(spec: ServiceSpec) -> tuple[str, ...]:
    """The model names that belong to this service alone within its project, as far as its spec tells."""
    named = spec.env.get("BACKEND_MODEL_NAME")
    return tuple(dict.fromkeys((*spec.model_name, *([named] if isinstance(named, str) else []), spec.name)))
