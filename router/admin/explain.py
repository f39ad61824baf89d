"""Dry run and explain: would it fit, where, and why not elsewhere."""

from __future__ import annotations

from router.admin import shapes
from router.admin.call import Call
from stoker.records import Resolution, ServiceRecord
from stoker.specs import ServiceSpec, changes_sessions, diff, refuse_frozen, without_effect


async def explain_spec(call: Call, spec: ServiceSpec, old: ServiceRecord | None) -> shapes.Explained:
    """What applying `spec` would do. Raises InvalidSpec where a field cannot change."""
    before = ServiceSpec.from_json(old.spec) if old is not None and old.deleted_at is None else None
    if before is not None:
        refuse_frozen(before, spec)
    kept = old.resolved if old is not None and before is not None and not changes_sessions(before, spec) else None
    return _explained(kept, diff(before, spec), without_effect(spec))


async def explain_record(call: Call, record: ServiceRecord) -> shapes.Explained:
    """Why the service's sessions are where they are, or nowhere."""
    return _explained(record.resolved, [], without_effect(ServiceSpec.from_json(record.spec)))


def _explained(resolved: Resolution | None, changes: list[str], notes: list[str]) -> shapes.Explained:
    return shapes.Explained(resolved=_resolved(resolved), memory=_memory(resolved), diff=changes, notes=notes)


def _resolved(resolution: Resolution | None) -> shapes.Resolved | None:
    if resolution is None:
        return None
    gpu = resolution.gpus if resolution.gpu_share in (0, 100) else resolution.gpus * resolution.gpu_share / 100
    return shapes.Resolved(
        resolution.variant, resolution.runtime, resolution.engine, resolution.image, resolution.model_revision, gpu, resolution.why
    )


def _memory(resolution: Resolution | None) -> list[shapes.Term]:
    return [shapes.Term(term, size) for term, size in resolution.memory_terms] if resolution else []
