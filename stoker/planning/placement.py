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
from stoker.planning.vitals import Vital
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


class Search:
    """Looks for places in `rooms`, which may change between two questions. What a node answered is kept until it changes, by
    the shape of the need: replicas, and services alike, do not ask every node again.
    """

    def __init__(self, rooms: Rooms, vitals: Mapping[str, Vital]) -> None:
        self.rooms = rooms
        self._vitals = vitals
        self._answers: dict[_Shape, dict[str, tuple[int, _Answer]]] = {}

    def find(self, need: Need, *, shunned: frozenset[str] = frozenset(), avoided: frozenset[str] = frozenset()) -> Verdict:
        """Ask every node of the group.

        1. Nodes with two failures in a row are left out
        2. unless every node that could take the session, now or once others leave, is one of them.
        """
        verdict = self._ask(need, shunned, avoided)  # (1)
        waits = any(refusal.busy for refusal in verdict.refused.values())
        if verdict.candidates or waits or not shunned:
            return verdict
        return self._ask(need, frozenset(), avoided)  # (2)

    def _ask(self, need: Need, shunned: frozenset[str], avoided: frozenset[str]) -> Verdict:
        scene = Scene(vitals=self._vitals, shunned=shunned, avoided=avoided)
        known = self._answers.setdefault((shape_of(need), shunned, avoided), {})
        candidates, refused = [], {}
        for name, room in self.rooms.by_name.items():
            if room.node.group != need.group:
                continue
            version, answer = known.get(name, _UNASKED)
            if version != room.version:
                answer = ask(need, room, scene)
                known[name] = room.version, answer
            if isinstance(answer, Refusal):
                refused[name] = answer
            else:
                candidates.append(Candidate(name, answer, score(need, room, answer)))
        candidates.sort(key=lambda candidate: (-candidate.score, candidate.node))
        return Verdict(tuple(candidates), refused)


_Answer = tuple[DeviceShare, ...] | Refusal
_Shape = tuple[Need, frozenset[str], frozenset[str]]
_UNASKED: tuple[int, _Answer] = (-1, ())


def shape_of(need: Need) -> Need:
    """What nodes look at: whose session it is matters to them only where replicas must be apart."""
    return need if need.spread == "require" else msgspec.structs.replace(need, service="", revision=0)


def ask(need: Need, room: NodeRoom, scene: Scene) -> _Answer:
    """The devices that this node would give, or its refusal."""
    refusal = refuse(need, room, scene)
    return pick(need, room) if refusal is None else refusal


def impossible(need: Need, nodes: Mapping[str, NodeRecord]) -> Reason | None:
    """Why no node could ever give so much, however empty; None if one could, or where there is no node to say so."""
    refused = {}
    for name, node in nodes.items():
        if node.removed or node.group != need.group:
            continue
        opened = msgspec.structs.replace(node, cordoned=False, draining_until=None)
        found = ask(need, NodeRoom(opened), Scene())
        if not isinstance(found, Refusal) or not found.lasting:
            return None
        refused[name] = found
    if not refused:
        return None
    said = reason(refused)
    return Reason(said.code, f"more than any node could ever give: {said.message}")
