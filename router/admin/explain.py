"""Dry run and explain: would it fit, where, and why not elsewhere. The decision is `model_variants.explain`, which the scheduler shares."""

from __future__ import annotations

import msgspec

from model_variants.explain import explain
from router.admin import shapes
from router.admin.call import Call
from stoker.records import Resolution, ServiceRecord
from stoker.specs import ServiceSpec, refuse_frozen, without_effect


async def explain_spec(call: Call, spec: ServiceSpec, old: ServiceRecord | None) -> shapes.Explained:
    """What applying `spec` would do. Raises InvalidSpec where a field cannot change."""
    if old is None or old.deleted_at is not None:
        return _explain(call, spec, None, None)
    before = ServiceSpec.from_json(old.spec)
    refuse_frozen(before, spec)
    return _explain(call, spec, before, old.resolved)


async def explain_record(call: Call, record: ServiceRecord) -> shapes.Explained:
    """Why the service's sessions are where they are, or nowhere."""
    spec = ServiceSpec.from_json(record.spec)
    return _explain(call, spec, spec, record.resolved)


def _explain(call: Call, spec: ServiceSpec, old: ServiceSpec | None, kept: Resolution | None) -> shapes.Explained:
    context = call.context
    mirror, pulse = context.mirror, context.pulse
    found = explain(spec, mirror.nodes, mirror.sessions.values(), pulse.seen, pulse.now(), context.variants, old=old, kept=kept)
    return msgspec.convert(found | {"notes": without_effect(spec)}, shapes.Explained)
