"""Dry run and explain: would it fit, where, and why not elsewhere; by the same arithmetic that the scheduler places with."""

from __future__ import annotations

import asyncio

import msgspec

from model_variants.explain import explain
from router.admin import shapes
from router.admin.call import Call
from stoker.records import Resolution, ServiceRecord
from stoker.specs import ServiceSpec, refuse_frozen, without_effect


async def explain_spec(call: Call, spec: ServiceSpec, old: ServiceRecord | None) -> shapes.Explained:
    """What applying `spec` would do. Raises InvalidSpec where a field cannot change."""
    before = ServiceSpec.from_json(old.spec) if old is not None and old.deleted_at is None else None
    if before is not None:
        refuse_frozen(before, spec)
    return await _explain(call, spec, before, _kept(old) if before is not None else None)


async def explain_record(call: Call, record: ServiceRecord) -> shapes.Explained:
    """Why the service's sessions are where they are, or nowhere."""
    spec = ServiceSpec.from_json(record.spec)
    return await _explain(call, spec, spec, _kept(record))


async def _explain(call: Call, spec: ServiceSpec, before: ServiceSpec | None, kept: Resolution | None) -> shapes.Explained:
    """In a thread, on copies: a large cluster must not hold up requests."""
    mirror, pulse, variants = call.context.mirror, call.context.pulse, call.context.variants
    nodes, sessions = dict(mirror.nodes), list(mirror.sessions.values())
    found = await asyncio.to_thread(explain, spec, nodes, sessions, pulse.seen, pulse.looked_at, variants, old=before, kept=kept)
    return msgspec.convert(found | {"notes": without_effect(spec)}, shapes.Explained)


def _kept(record: ServiceRecord | None) -> Resolution | None:
    """What was chosen for it, if its next session would still be started from that."""
    return record.resolved if record is not None and record.resolved_revision >= record.resolve_at else None
