"""What should change, and why: the whole plan of one pass, from a snapshot alone. A plan that was carried out gives an empty one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from model_variants.base import Variant
from scheduler.actions import Action
from scheduler.draft import Draft
from scheduler.ended import clean
from scheduler.fates import judge
from scheduler.placing import place_all
from scheduler.removal import dissolve
from scheduler.snapshot import Snapshot
from scheduler.tending import Tended, tend
from stoker.specs import ServiceSpec


def reconcile(
    snapshot: Snapshot, specs: Mapping[str, ServiceSpec], variants: Mapping[str, Variant], new_id: Callable[[str], str]
) -> list[Action]:
    """In this order, each step seeing what the ones before it decided:

    1. what nodes do to sessions: lost, refused, written off
    2. what each service wants: resolved, how many, replaced, drained, made
    3. where those that wait go, and who makes room for them
    4. what is forgotten: ended sessions beyond those kept, removed services and nodes that hold nothing
    """
    draft = Draft(snapshot, specs, new_id)
    judge(draft)  # (1)
    tended: dict[str, Tended] = {}
    for name in sorted(snapshot.services):  # (2)
        service = draft.services[name]
        if service.deleted_at is not None:
            dissolve(draft, name, now=service.drop_now)
        elif name in specs:
            tended[name] = tend(draft, service, specs[name], variants)
    for name in sorted(draft.owners() - snapshot.services.keys()):
        dissolve(draft, name, now=True)
    place_all(draft, tended)  # (3)
    clean(draft)  # (4)
    return draft.actions
