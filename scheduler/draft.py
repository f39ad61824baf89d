"""A plan in the making: every decision is noted as an action and seen at once by the decisions after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from scheduler.actions import (
    Action,
    Create,
    Decide,
    Drain,
    Forget,
    ForgetNode,
    Hasten,
    KeepPending,
    Lose,
    Place,
    Prune,
    Recover,
    Unplace,
    Withdraw,
    WriteOff,
)
from scheduler.snapshot import Snapshot
from stoker.planning.vitals import Vital
from stoker.records import Assignment, Event, Reason, ServiceRecord, SessionRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus

_S = SessionStatus


class Draft:
    """`sessions` and `services` are working copies that show what the actions so far will have done."""

    def __init__(self, snapshot: Snapshot, specs: Mapping[str, ServiceSpec], new_id: Callable[[str], str]) -> None:
        self.snapshot = snapshot
        self.specs = specs
        self.now = snapshot.now
        self.actions: list[Action] = []
        self.services: dict[str, ServiceRecord] = dict(snapshot.services)
        self.vitals: dict[str, Vital] = {name: snapshot.watch.vital(node) for name, node in snapshot.nodes.items()}
        self.sessions: dict[str, SessionRecord] = {}
        self._of: dict[str, dict[str, SessionRecord]] = {}
        self._new_id = new_id
        for session in snapshot.sessions.values():
            self._put(session)

    def of(self, service: str) -> list[SessionRecord]:
        """The sessions of one service, ended ones too."""
        return list(self._of.get(service, {}).values())

    def owners(self) -> set[str]:
        """Names of services that sessions claim to be of, whether they exist or not."""
        return {name for name, sessions in self._of.items() if sessions}

    def decide(self, service: ServiceRecord, changes: Mapping[str, Any], event: Event | None = None, cause: str = "") -> ServiceRecord:
        """Write what differs; nothing if nothing does."""
        new = {name: value for name, value in changes.items() if getattr(service, name) != value}
        if new:
            self.actions.append(Decide(service, new, event, cause))
            self.services[service.name] = service = msgspec.structs.replace(service, **new)
        return service

    def create(self, service: ServiceRecord) -> None:
        session = SessionRecord(
            id=self._new_id(service.name), service=service.name, project=service.project,
            revision=service.revision, status=_S.PENDING, created_at=self.now,
        )  # fmt: skip
        self.actions.append(Create(session))
        self._put(session)

    def place(self, session: SessionRecord, node: str, assignment: Assignment) -> SessionRecord:
        self.actions.append(Place(session, node, assignment))
        return self._change(
            session, status=_S.PLACED, node=node, assignment=assignment, reason=None, refused=None, revision=assignment.revision,
            placed_at=self.now,
        )  # fmt: skip

    def unplace(self, session: SessionRecord, reason: Reason) -> None:
        self.actions.append(Unplace(session, reason))
        self._change(session, status=_S.PENDING, node=None, assignment=None, refused=None, reason=reason, phase=None)

    def keep_pending(self, session: SessionRecord, reason: Reason) -> None:
        if session.reason != reason:
            self.actions.append(KeepPending(session, reason))
            self._change(session, reason=reason)

    def withdraw(self, session: SessionRecord, reason: Reason) -> None:
        self.actions.append(Withdraw(session, reason))
        self._change(session, status=_S.STOPPED, reason=reason, ended_at=self.now)

    def drain(self, session: SessionRecord, reason: Reason, until: float) -> None:
        self.actions.append(Drain(session, reason, until))
        self._change(session, status=_S.DRAINING, reason=reason, drain_until=until, draining_at=self.now)

    def hasten(self, session: SessionRecord, reason: Reason, until: float) -> None:
        self.actions.append(Hasten(session, reason, until))
        self._change(session, drain_until=until)

    def lose(self, session: SessionRecord, reason: Reason) -> SessionRecord:
        self.actions.append(Lose(session, reason))
        return self._change(session, status=_S.LOST, reason=reason)

    def recover(self, session: SessionRecord) -> None:
        self.actions.append(Recover(session))
        self._change(session, status=_S.READY, reason=None)

    def write_off(self, session: SessionRecord, reason: Reason) -> None:
        self.actions.append(WriteOff(session, reason))
        self._change(session, status=_S.STOPPED, reason=reason, ended_at=self.now)

    def prune(self, session: SessionRecord) -> None:
        self.actions.append(Prune(session.id))
        del self.sessions[session.id]
        del self._of[session.service][session.id]

    def forget(self, service: str) -> None:
        self.actions.append(Forget(service))
        del self.services[service]

    def forget_node(self, node: str) -> None:
        self.actions.append(ForgetNode(node))

    def _change(self, session: SessionRecord, **changes: Any) -> SessionRecord:
        changed = msgspec.structs.replace(session, **changes)
        self._put(changed)
        return changed

    def _put(self, session: SessionRecord) -> None:
        self.sessions[session.id] = session
        self._of.setdefault(session.service, {})[session.id] = session
