"""The search for a place: filter, score, pick; and whether there could ever be one."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stoker.planning.devices import pick
from stoker.planning.filters import Scene, refuse
from stoker.planning.need import Need
from stoker.planning.refusals import Refusal, reason
from stoker.planning.room import NodeRoom, Rooms
from stoker.planning.scorers import score
from stoker.records import DeviceShare, NodeRecord, Reason


class Candidate(msgspec.Struct, frozen=True):
    """A node that would take the session, with the devices it would give."""

    node: str
    gpus: tuple[DeviceShare, ...]
    score: float


class Verdict(msgspec.Struct, frozen=True):
    """Every node's answer: those that would take it, best first, and why the others would not."""

    candidates: tuple[Candidate, ...]
    refused: Mapping[str, Refusal]

    @property
    def best(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None

    def reason(self, group: str) -> Reason:
        """Why there is no place."""
        return reason(self.refused) if self.refused else nobody(group)


def nobody(group: str) -> Reason:
    return Reason("node_silent", f"no node of the resource group {group} is connected: start a worker (stoker worker)")


def find(need: Need, rooms: Rooms, scene: Scene) -> Verdict:
    """Ask every node of the group.

    1. Nodes with two failures in a row are left out
    2. unless every node that could take the session, now or once others leave, is one of them.
    """
    verdict = _ask(need, rooms, scene)  # (1)
    waits = any(refusal.busy for refusal in verdict.refused.values())
    if verdict.candidates or waits or not scene.shunned:
        return verdict
    return _ask(need, rooms, msgspec.structs.replace(scene, shunned=frozenset()))  # (2)


def _ask(need: Need, rooms: Rooms, scene: Scene) -> Verdict:
    candidates, refused = [], {}
    for name, room in rooms.by_name.items():
        if room.node.group != need.group:
            continue
        refusal = refuse(need, room, scene)
        found = pick(need, room) if refusal is None else refusal
        if isinstance(found, Refusal):
            refused[name] = found
        else:
            candidates.append(Candidate(name, found, score(need, room, found)))
    candidates.sort(key=lambda candidate: (-candidate.score, candidate.node))
    return Verdict(tuple(candidates), refused)


def impossible(need: Need, nodes: Mapping[str, NodeRecord]) -> Reason | None:
    """Why no node could ever give so much, however empty; None if one could, or where there is no node to say so."""
    refused = {}
    for name, node in nodes.items():
        if node.removed or node.group != need.group:
            continue
        empty = NodeRoom(node)
        refusal = refuse(need, empty, Scene())
        found = pick(need, empty) if refusal is None else refusal
        if not isinstance(found, Refusal) or not found.lasting:
            return None
        refused[name] = found
    if not refused:
        return None
    said = reason(refused)
    return Reason(said.code, f"more than any node could ever give: {said.message}")
