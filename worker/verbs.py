"""What to tell the store about a session: decided from what is true here and what is written there. Each verb is one arrow, or facts."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from stoker.records import Reason, SessionRecord
from stoker.states import TERMINAL, Phase, SessionStatus

_S = SessionStatus


class Stage(StrEnum):
    REFUSED = "refused"
    STARTING = "starting"
    READY = "ready"
    ENDED = "ended"


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of a session on this node. `address` host:port of a READY one; `reason` why it was refused or ended
    (None: it was asked to stop, and did).
    """

    stage: Stage
    phase: Phase | None = None
    pid: int | None = None
    address: str | None = None
    reason: Reason | None = None


class Verb(StrEnum):
    """DONE: nothing will ever have to be said again. WAIT: nothing until the record or the fact changes."""

    REFUSE = "refuse"
    START = "start"
    READY = "ready"
    FAIL = "fail"
    STOP = "stop"
    REPORT = "report"
    WAIT = "wait"
    DONE = "done"


def next_verb(fact: Fact, record: SessionRecord | None, node: str) -> Verb:
    """The one verb that brings the record nearer to the fact.

    1. Not ours (any more), or over: done once our engine is gone too.
    2. Refused: said while it is PLACED.
    3. Ended: FAILED with its reason; STOPPED where it was asked for. A LOST one only has facts: the scheduler moves it.
    4. Starting: PLACED → STARTING, then facts.
    5. Ready: by way of STARTING, then facts.
    """
    over = fact.stage in (Stage.ENDED, Stage.REFUSED)
    if record is None or record.node != node or record.status in TERMINAL or record.status is _S.PENDING:
        return Verb.DONE if over else Verb.WAIT
    if fact.stage is Stage.REFUSED:
        return Verb.DONE if record.refused is not None or record.status is not _S.PLACED else Verb.REFUSE
    if fact.stage is Stage.ENDED:
        return _ended(fact, record)
    if record.status is _S.PLACED:
        return Verb.START
    if record.status is _S.STARTING and fact.stage is Stage.READY:
        return Verb.READY
    return Verb.REPORT if changes(fact, record) else Verb.WAIT


def _ended(fact: Fact, record: SessionRecord) -> Verb:
    if record.status is _S.LOST:
        return Verb.REPORT if changes(fact, record) else Verb.WAIT
    if record.status is _S.DRAINING and fact.reason is None:
        return Verb.STOP
    return Verb.FAIL


def changes(fact: Fact, record: SessionRecord) -> dict[str, object]:
    """The fields of the record that differ from the fact."""
    wanted: dict[str, object] = {"pid": fact.pid, "address": fact.address}
    if fact.stage is not Stage.ENDED and record.status is _S.STARTING:
        wanted["phase"] = fact.phase
    if fact.stage is Stage.ENDED and fact.reason is not None:
        wanted["reason"] = fact.reason
    return {name: value for name, value in wanted.items() if getattr(record, name) != value}
