"""Where the waiting sessions go: the most important first, then the oldest; each that finds no place is told why."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from model_variants.offers import read_facts_of
from scheduler import backoff
from scheduler.draft import Draft
from scheduler.leaving import drain
from scheduler.rollout import Fleet
from scheduler.tending import Tended, fleet, on_draining_node, why_outgoing
from stoker.planning.need import Need, need_of
from stoker.planning.placement import Candidate, Search, Verdict, shape_of
from stoker.planning.room import Rooms
from stoker.records import Assignment, NodeRecord, Reason, Resolution, SessionRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus

_S = SessionStatus


def place_all(draft: Draft, tended: Mapping[str, Tended]) -> None:
    """1. every PENDING session gets a place or a reason
    2. where a replacement fits nowhere, the one that it replaces may have to go first
    """
    places = _Places(draft)
    stuck: dict[str, Reason] = {}
    for session in waiting(draft, tended):  # (1)
        reason = _place(draft, places, tended[session.service], session)
        if reason is not None:
            draft.keep_pending(session, reason)
            stuck.setdefault(session.service, reason)
    for name, service in tended.items():  # (2)
        _make_room(draft, places, service, draft.specs[name], stuck=name in stuck)


def waiting(draft: Draft, tended: Mapping[str, Tended]) -> list[SessionRecord]:
    """In the order in which they are served."""
    found = [s for name in tended for s in draft.of(name) if s.status is _S.PENDING]
    return sorted(found, key=lambda s: (-draft.specs[s.service].priority, s.created_at, s.id))


class _Places:
    """Rooms are counted up once there is something to place. A need that found no place in this pass is not asked about again."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._search: Search | None = None
        self._full: dict[tuple[Need, frozenset[str], frozenset[str]], Verdict] = {}

    @property
    def search(self) -> Search:
        if self._search is None:
            self._search = Search(Rooms(self._draft.snapshot.nodes, self._draft.sessions.values()), self._draft.vitals)
        return self._search

    def find(self, need: Need, tended: Tended) -> Verdict:
        shunned, avoided = self._left_out(tended)
        key = (shape_of(need), shunned, avoided)
        if key in self._full:
            return self._full[key]
        verdict = self.search.find(need, shunned=shunned, avoided=avoided)
        if not verdict.candidates:
            self._full[key] = verdict
        return verdict

    def book(self, session: SessionRecord) -> None:
        self.search.rooms.book(session)

    def fits_without(self, need: Need, tended: Tended, gone: list[SessionRecord]) -> bool:
        """Whether it would find a place if these went."""
        shunned, avoided = self._left_out(tended)
        for session in gone:
            self.search.rooms.release(session)
        try:
            return bool(self.search.find(need, shunned=shunned, avoided=avoided).candidates)
        finally:
            for session in gone:
                self.search.rooms.book(session)

    def _left_out(self, tended: Tended) -> tuple[frozenset[str], frozenset[str]]:
        state = tended.service.backoff
        return backoff.shunned(state), backoff.avoided(state, self._draft.now)


def _place(draft: Draft, places: _Places, tended: Tended, session: SessionRecord) -> Reason | None:
    """1. nothing to start, or nowhere ever; 2. a pause after failures; 3. the best node now. The reason, if none."""
    resolution, service = tended.settled.resolution, tended.service
    if resolution is None or tended.settled.blocked is not None:
        return tended.settled.blocked or Reason("model_missing", "waiting for the nodes to say what they know of the model")  # (1)
    pause = backoff.waits(service.backoff, draft.now)
    if pause is not None:
        return pause  # (2)
    spec = draft.specs[service.name]
    need = need_of(spec, service.revision, resolution)
    verdict = places.find(need, tended)
    if verdict.best is None:
        return _told(session, verdict, service.backoff.avoid.keys(), need)
    placed = draft.place(session, verdict.best.node, _assignment(draft, tended, resolution, verdict.best))  # (3)
    places.book(placed)
    return None


def _told(session: SessionRecord, verdict: Verdict, avoided: object, need: Need) -> Reason:
    """A node's own refusal says more than that it is left alone for a moment."""
    only = {refusal.one for refusal in verdict.refused.values()}
    if session.reason is not None and avoided and only == {"has just refused it"}:
        return session.reason
    return verdict.reason(need.group)


def _assignment(draft: Draft, tended: Tended, resolution: Resolution, place: Candidate) -> Assignment:
    node = draft.snapshot.nodes[place.node]
    service = tended.service
    return Assignment(
        revision=service.revision,
        resolution=_local(resolution, node, draft.specs[service.name].model),
        spec=service.spec,
        gpus=place.gpus,
        boot_id=node.boot_id,
    )


def _local(resolution: Resolution, node: NodeRecord, model: str) -> Resolution:
    """The model as this node has it: the same model may lie elsewhere on another."""
    facts = read_facts_of(node, model)
    if facts is None:
        return resolution
    return msgspec.structs.replace(resolution, model_path=facts.path, facts_digest=facts.digest)


def _make_room(draft: Draft, places: _Places, tended: Tended, spec: ServiceSpec, *, stuck: bool) -> None:
    """For sessions that are to be replaced while their replacement finds no place:

    1. a node that is being drained does not wait for room elsewhere, nor beyond its deadline
    2. with if_no_room: replace, the oldest go as soon as that would give the new one a place
    """
    now = fleet(draft, tended.service)
    if not now.outgoing:
        return
    resolution = tended.settled.resolution
    blocked = resolution is None or tended.settled.blocked is not None
    no_place = blocked or (stuck and backoff.waits(tended.service.backoff, draft.now) is None)
    for session in now.outgoing:  # (1)
        if on_draining_node(draft, session) and (no_place or _deadline_near(draft, session)):
            drain(draft, spec, session, why_outgoing(draft, tended.service, session))
    draining = any(session.status is _S.DRAINING for session in draft.of(spec.name))
    if blocked or not no_place or draining or resolution is None or not _replaces(draft, spec):
        return
    need = need_of(spec, tended.service.revision, resolution)
    for session in _enough(places, tended, need, now):  # (2)
        drain(draft, spec, session, why_outgoing(draft, tended.service, session))


def _deadline_near(draft: Draft, session: SessionRecord) -> bool:
    node = draft.snapshot.nodes[session.node or ""]
    return node.draining_until is not None and draft.now >= node.draining_until - 10.0


def _replaces(draft: Draft, spec: ServiceSpec) -> bool:
    if spec.rollout.if_no_room is not None:
        return spec.rollout.if_no_room == "replace"
    group = [node for node in draft.snapshot.nodes.values() if node.group == spec.resource_group and not node.removed]
    return len(group) <= 1


def _enough(places: _Places, tended: Tended, need: Need, now: Fleet) -> list[SessionRecord]:
    """The fewest of the outgoing, oldest first, whose room would do; none if not even all of it would."""
    gone: list[SessionRecord] = []
    for session in sorted(now.outgoing, key=lambda s: (s.created_at, s.id)):
        gone.append(session)
        if places.fits_without(need, tended, gone):
            return gone
    return []
