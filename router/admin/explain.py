"""Dry run and explain: would it fit, where, and why not elsewhere; by the same arithmetic that the scheduler places with."""

from __future__ import annotations

import asyncio

import msgspec

from model_variants.explain import explain
from router.admin import shapes
from router.admin.call import Call
from router.admin.worker_facts import WorkerFacts
from stoker.records import Resolution, ServiceRecord
from stoker.specs import ServiceSpec, refuse_frozen, without_effect

_SHOWN = 5
"""Nodes that did not answer, each with its reason."""


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
    """1. ask the nodes that have said nothing of the model yet
    2. in a thread, on copies: a large cluster must not hold up requests
    """
    mirror, pulse, variants = call.context.mirror, call.context.pulse, call.context.variants
    facts = WorkerFacts(call.context.http, call.context.cluster_key)
    nodes, unheard = await facts.fill(spec, mirror.nodes, pulse.seen, pulse.looked_at)  # (1)
    seen, now, sessions = pulse.seen, pulse.looked_at, list(mirror.sessions.values())
    found = await asyncio.to_thread(explain, spec, nodes, sessions, seen, now, variants, old=before, kept=kept, unheard=unheard)  # (2)
    notes = [f"{sentence}: what it has of the model is not known" for _, sentence in sorted(unheard.items())[:_SHOWN]]
    if len(unheard) > _SHOWN:
        notes.append(f"the same holds for {len(unheard) - _SHOWN} more nodes")
    return msgspec.convert(found | {"notes": notes + without_effect(spec)}, shapes.Explained)


def _kept(record: ServiceRecord | None) -> Resolution | None:
    """What was chosen for it, if its next session would still be started from that."""
    return record.resolved if record is not None and record.resolved_revision >= record.resolve_at else None
