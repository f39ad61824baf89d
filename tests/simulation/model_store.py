"""A model of the store: the same verbs and guards as the real one, in memory, on a virtual clock."""

from __future__ import annotations

from typing import Any

import msgspec

from scheduler import actions as act
from stoker.records import NodeRecord, Reason, ServiceRecord, SessionRecord
from stoker.states import TERMINAL, Owner, SessionStatus, sources

_S = SessionStatus


class ModelStore:
    """Every write answers whether it was taken; a stale one is refused, as the real store's scripts do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.services: dict[str, ServiceRecord] = {}
        self.sessions: dict[str, SessionRecord] = {}
        self.nodes: dict[str, NodeRecord] = {}
        self.seen: dict[str, float] = {}

    # the scheduler's verbs

    def carry(self, action: act.Action) -> bool:
        match action:
            case act.Decide(service, changes):
                return self._service(service.name, **changes)
            case act.Create(session):
                fresh = session.id not in self.sessions
                if fresh:
                    self.sessions[session.id] = msgspec.structs.replace(session, status=_S.PENDING, created_at=self.now)
                return fresh
            case act.Prune(id):
                ended = id in self.sessions and self.sessions[id].status in TERMINAL
                return ended and self.sessions.pop(id) is not None
            case act.Forget(name):
                deleted = name in self.services and self.services[name].deleted_at is not None
                return deleted and self.services.pop(name) is not None
            case act.ForgetNode(name):
                self.seen.pop(name, None)
                return self.nodes.pop(name, None) is not None
        return self._arrow(action)

    def _arrow(self, action: Any) -> bool:
        match action:
            case act.Place(s, node, assignment):
                changes = {"node": node, "assignment": assignment, "reason": None, "refused": None, "revision": assignment.revision}
                return self._lead(s, _S.PLACED, **changes, placed_at=self.now)
            case act.Unplace(s, reason):
                return self._lead(s, _S.PENDING, node=None, assignment=None, refused=None, reason=reason, phase=None)
            case act.KeepPending(s, reason):
                return self.move(s.id, None, (_S.PENDING,), reason=reason)
            case act.Withdraw(s, reason):
                return self.move(s.id, _S.STOPPED, (_S.PENDING,), reason=reason, ended_at=self.now)
            case act.Drain(s, reason, until):
                return self._lead(s, _S.DRAINING, reason=reason, drain_until=until, draining_at=self.now)
            case act.Hasten(s, _, until):
                return self.move(s.id, None, (_S.DRAINING,), drain_until=until)
            case act.Lose(s, reason):
                return self._lead(s, _S.LOST, reason=reason)
            case act.Recover(s):
                return self._lead(s, _S.READY, reason=None)
            case act.WriteOff(s, reason):
                return self.move(s.id, _S.STOPPED, (_S.LOST,), reason=reason, ended_at=self.now)
        raise AssertionError(action)

    # the workers' verbs

    def work(self, node: str, id: str, to: SessionStatus, **changes: Any) -> bool:
        return self._is_of(node, id) and self.move(id, to, sources(to, Owner.WORKER), **changes)

    def refuse(self, node: str, id: str, reason: Reason) -> bool:
        return self._is_of(node, id) and self.move(id, None, (_S.PLACED,), refused=reason)

    def report(self, node: str, id: str, **changes: Any) -> bool:
        return self._is_of(node, id) and self.move(id, None, tuple(set(_S) - TERMINAL - {_S.PENDING}), **changes)

    def register(self, node: NodeRecord) -> None:
        kept = self.nodes.get(node.name)
        if kept is not None:
            node = msgspec.structs.replace(node, cordoned=kept.cordoned, draining_until=kept.draining_until)
        self.nodes[node.name] = msgspec.structs.replace(node, registered_at=self.now, removed=False)
        self.seen[node.name] = self.now

    # everybody's

    def move(self, id: str, to: SessionStatus | None, expected: tuple[SessionStatus, ...], **changes: Any) -> bool:
        session = self.sessions.get(id)
        if session is None or session.status not in expected:
            return False
        if to is not None:
            changes["status"] = to
        self.sessions[id] = msgspec.structs.replace(session, **changes)
        return True

    def _is_of(self, node: str, id: str) -> bool:
        return id in self.sessions and self.sessions[id].node == node

    def _lead(self, session: SessionRecord, to: SessionStatus, **changes: Any) -> bool:
        return self.move(session.id, to, sources(to, Owner.SCHEDULER), **changes)

    def _service(self, name: str, **changes: Any) -> bool:
        if name not in self.services:
            return False
        self.services[name] = msgspec.structs.replace(self.services[name], **changes)
        return True
