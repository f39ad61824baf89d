"""What a service starts: its resolution, kept with the revision, or the reason why there is none."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from model_variants.base import Unsuitable, Variant
from model_variants.offers import READING_SECONDS, NotYet, gather
from model_variants.resolve import resolve
from scheduler.snapshot import Snapshot
from stoker.errors import InvalidSpec
from stoker.planning.need import need_of
from stoker.planning.placement import impossible, nobody
from stoker.planning.vitals import Vital
from stoker.records import NodeRecord, Reason, Resolution, ServiceRecord
from stoker.specs import ServiceSpec

log = logging.getLogger(__name__)


class Settled(msgspec.Struct, frozen=True):
    """`resolution` with the revision it is of; no session is made where there is none, or where `blocked` says why."""

    resolution: Resolution | None
    revision: int
    blocked: Reason | None = None


def settle(spec: ServiceSpec, service: ServiceRecord, lacking: bool, snapshot: Snapshot, variants: Mapping[str, Variant]) -> Settled:
    """1. What was resolved for this revision, or may be kept for it, stays as it is
    2. else the living nodes of the group say what is there; where nothing can be said yet, the old reason stays
    3. either way, where sessions are lacking, what no node could ever give is said for the service as a whole
    """
    if service.resolved is not None and service.resolved_revision >= service.resolve_at:  # (1)
        found, revision = service.resolved, service.resolved_revision
    else:
        try:
            found, revision = _decide(spec, service, snapshot, variants), service.revision  # (2)
        except NotYet as wait:
            return Settled(None, 0, service.reason or _patience_over(service, snapshot, str(wait)))
        except Unsuitable as no:
            return Settled(None, 0, no.reason)
        except InvalidSpec as no:
            return Settled(None, 0, Reason("model_unsupported", no.message))
    blocked = impossible(need_of(spec, service.revision, found), snapshot.nodes) if lacking else None  # (3)
    return Settled(found, revision, blocked)


def _decide(spec: ServiceSpec, service: ServiceRecord, snapshot: Snapshot, variants: Mapping[str, Variant]) -> Resolution:
    living = _living(spec.resource_group, snapshot)
    if not living:
        raise Unsuitable("node_silent", nobody(spec.resource_group).message)
    facts, site = gather(spec, living, patience=service.updated_at + READING_SECONDS - snapshot.now)
    try:
        return resolve(spec, facts, site, variants)
    except (Unsuitable, InvalidSpec):
        raise
    except Exception as error:
        log.exception("a variant failed to decide about the service %s", service.name)
        raise Unsuitable("model_unsupported", f"the variant {spec.variant} failed to decide: {error}") from error


def _living(group: str, snapshot: Snapshot) -> list[NodeRecord]:
    nodes = [node for node in snapshot.nodes.values() if node.group == group and not node.removed]
    return [node for node in nodes if snapshot.watch.vital(node) is Vital.ALIVE]


def _patience_over(service: ServiceRecord, snapshot: Snapshot, waits_for: str) -> Reason | None:
    """Waiting is said once it lasts."""
    late = snapshot.now - service.updated_at > READING_SECONDS
    return Reason("model_missing", f"{waits_for}; it takes longer than usual") if late else None
