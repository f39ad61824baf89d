"""Whether the sessions that a spec wants would find their places now, and what one that finds none is told by each node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_variants.nearest import nearest
from stoker.planning.need import Need, need_of
from stoker.planning.placement import Candidate, Search, Verdict, impossible
from stoker.planning.room import Rooms
from stoker.planning.vitals import Vital
from stoker.records import NodeRecord, Reason, Resolution, SessionRecord
from stoker.resources import WHOLE_GPU
from stoker.specs import SecretRef, ServiceSpec
from stoker.states import SessionStatus

Nodes = Mapping[str, NodeRecord]
_LIVING = frozenset({SessionStatus.PLACED, SessionStatus.STARTING, SessionStatus.READY, SessionStatus.ASLEEP})


def attempt(
    spec: ServiceSpec,
    resolution: Resolution,
    nodes: Nodes,
    sessions: list[SessionRecord],
    vitals: Mapping[str, Vital],
    *,
    same: bool,
) -> dict[str, Any]:
    """1. every session that is still lacking must find a place; those that are replaced give up theirs
    2. where they may not go first, the first new one must find a place beside them

    `refused` are the answers about one session: the first that finds no place; where all do, the first of them.
    """
    need = need_of(spec, 0, resolution)
    own = [session for session in sessions if session.service == spec.name and session.status in _LIVING]
    others = sessions if same else [session for session in sessions if session.service != spec.name]
    wanted = max(1, spec.replicas.min) - (len(own) if same else 0)
    first = Search(Rooms(nodes, others if wanted > 0 else [s for s in sessions if s.service != spec.name]), vitals).find(need)
    placed, verdict = _place(need, Search(Rooms(nodes, others), vitals), wanted)  # (1)
    reason = _lacking(verdict.reason(need.group), len(placed), wanted) if verdict else None
    if verdict is None and own and not same and not _replaces(spec, nodes):
        beside = Search(Rooms(nodes, sessions), vitals).find(need)  # (2)
        if not beside.candidates:
            verdict, placed, reason = beside, [], _beside(beside.reason(need.group))
    never = impossible(need, nodes)
    reason = never or reason
    return {
        "fits": verdict is None and never is None,
        "reason": said(reason) if reason else None,
        "placement": [_place_shown(place) for place in placed],
        "refused": [
            {"node": name, "code": no.code, "message": f"{name} {no.one}"} for name, no in sorted((verdict or first).refused.items())
        ],
        "nearest": nearest(need, Search(Rooms(nodes, others), vitals), placed=len(placed), wanted=wanted) if verdict else [],
    }


def _lacking(reason: Reason, placed: int, wanted: int) -> Reason:
    if not placed:
        return reason
    return Reason(reason.code, f"{placed} of {wanted} replicas {'fits' if placed == 1 else 'fit'} now, the next does not: {reason.message}")


def _beside(reason: Reason) -> Reason:
    way = "with rollout.if_no_room: replace the old ones go first"
    return Reason(reason.code, f"a new session does not fit beside those that it replaces: {reason.message}; {way}")


def without_secrets(spec: ServiceSpec, trial: Mapping[str, Any]) -> dict[str, Any]:
    """A session whose environment names secrets is refused by every node that would have had the room."""
    names = sorted(name for name, value in spec.env.items() if isinstance(value, SecretRef))
    if not names:
        return {}
    reason = Reason("secret_missing", f"this version has no secrets yet; give the value itself: env: {{{names[0]}: VALUE}}")
    willing = sorted({place["node"] for place in trial["placement"]} - {no["node"] for no in trial["refused"]})
    refused = [
        {"node": node, "code": reason.code, "message": f"{node} cannot hand out env.{names[0]}: {reason.message}"} for node in willing
    ]
    return {"fits": False, "reason": said(reason), "placement": [], "refused": trial["refused"] + refused, "nearest": []}


def _place(need: Need, search: Search, count: int) -> tuple[list[Candidate], Verdict | None]:
    """Up to `count` places one after the other, and the verdict of the first that found none."""
    placed: list[Candidate] = []
    for _ in range(count):
        verdict = search.find(need)
        if verdict.best is None:
            return placed, verdict
        placed.append(verdict.best)
        room = search.rooms.by_name[verdict.best.node]
        room.hold(need.cpu, need.memory, verdict.best.gpus)
        room.replicas[(need.service, need.revision)] += 1
    return placed, None


def _replaces(spec: ServiceSpec, nodes: Nodes) -> bool:
    if spec.rollout.if_no_room is not None:
        return spec.rollout.if_no_room == "replace"
    return sum(node.group == spec.resource_group and not node.removed for node in nodes.values()) <= 1


def said(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "message": reason.message}


def _place_shown(place: Candidate) -> dict[str, Any]:
    gpus = [{"device": part.device, "share": part.share / WHOLE_GPU, "memory": part.memory} for part in place.gpus]
    return {"node": place.node, "gpus": gpus, "score": round(place.score, 3)}
