"""What a plan is made of: one action per write, each with the sentence that explains it. commit.py carries them out."""

from __future__ import annotations

from typing import Any

import msgspec

from stoker.records import Assignment, Event, Reason, ServiceRecord, SessionRecord


class Decide(msgspec.Struct, frozen=True):
    """The scheduler's own fields of a service change. `cause` is why it wants another number, in one of the figures' words."""

    service: ServiceRecord
    changes: dict[str, Any]
    event: Event | None = None
    cause: str = ""


class Create(msgspec.Struct, frozen=True):
    session: SessionRecord


class Place(msgspec.Struct, frozen=True):
    session: SessionRecord
    node: str
    assignment: Assignment


class Unplace(msgspec.Struct, frozen=True):
    session: SessionRecord
    reason: Reason


class KeepPending(msgspec.Struct, frozen=True):
    session: SessionRecord
    reason: Reason


class Withdraw(msgspec.Struct, frozen=True):
    session: SessionRecord
    reason: Reason


class Drain(msgspec.Struct, frozen=True):
    session: SessionRecord
    reason: Reason
    until: float


class Hasten(msgspec.Struct, frozen=True):
    session: SessionRecord
    reason: Reason
    until: float


class Lose(msgspec.Struct, frozen=True):
    session: SessionRecord
    reason: Reason


class Recover(msgspec.Struct, frozen=True):
    session: SessionRecord


class WriteOff(msgspec.Struct, frozen=True):
    session: SessionRecord
    reason: Reason


class Prune(msgspec.Struct, frozen=True):
    id: str


class Forget(msgspec.Struct, frozen=True):
    """A deleted service without sessions."""

    service: str


class ForgetNode(msgspec.Struct, frozen=True):
    """A removed node that holds nothing."""

    node: str


Action = (
    Decide | Create | Place | Unplace | KeepPending | Withdraw | Drain | Hasten | Lose | Recover | WriteOff | Prune | Forget | ForgetNode
)
