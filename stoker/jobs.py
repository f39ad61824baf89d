"""A job: one inference request accepted for later. Its statuses, the arrows between them, and its record.

The store's sets hold which jobs wait, run or have ended; jobs are not part of the change feed, for there may be a million.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from stoker.records import Reason

CRASH_LIMIT = 3
"""Deaths of a runner or an engine under a job before it is failed as `poisoned`."""


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_J = JobStatus
JOB_TRANSITIONS: Mapping[tuple[JobStatus | None, JobStatus], str] = {
    (None, _J.QUEUED): "accepted: record, input and place in the queue are durable",
    (_J.QUEUED, _J.RUNNING): "claimed by a runner: a lease and a new epoch",
    (_J.QUEUED, _J.FAILED): "its service was deleted",
    (_J.QUEUED, _J.EXPIRED): "its deadline passed before a route was free",
    (_J.QUEUED, _J.CANCELLED): "the user took it back",
    (_J.RUNNING, _J.SUCCEEDED): "the engine answered 2xx; the result is kept",
    (_J.RUNNING, _J.FAILED): "the engine answered for good, retries are used up, or it is poisoned",
    (_J.RUNNING, _J.EXPIRED): "its deadline passed while it ran",
    (_J.RUNNING, _J.CANCELLED): "the user took it back; the engine's request is closed",
    (_J.RUNNING, _J.QUEUED): "handed back: the session drained, or the runner died (then one crash more)",
}
ENDED = frozenset({_J.SUCCEEDED, _J.FAILED, _J.CANCELLED, _J.EXPIRED})


def sources(to: JobStatus) -> tuple[JobStatus, ...]:
    """The statuses from which a job may come to `to`."""
    return tuple(old for (old, new) in JOB_TRANSITIONS if new is to and old is not None)


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`epoch` rises with each claim and fences the claimer's writes; `place` orders the queue: priority, then arrival.
    `attempts` counts claims, `crashes` deaths under it, `retries` what the engine failed. `gone`: its input, result and
    events are not kept any more. Times in seconds since the epoch.
    """

    id: str
    service: str
    project: str
    token: str
    path: str
    content_type: str = "application/json"
    priority: int = 10
    status: JobStatus = JobStatus.QUEUED
    reason: Reason | None = None
    epoch: int = 0
    attempts: int = 0
    crashes: int = 0
    retries: int = 0
    runner: str = ""
    place: int = 0
    webhook: str | None = None
    retry_of: str | None = None
    batch: str | None = None
    stream: bool = False
    gone: bool = False
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    deadline_at: float = 0.0
    expires_at: float | None = None


class JobEvent(msgspec.Struct, frozen=True):
    """One entry of a job's log: `number` counts from 1; `kind` is status | chunk | done; `data` as it was written."""

    number: int
    kind: str
    data: str


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine answered: its status, type and body, as they came."""

    status: int
    content_type: str
    body: bytes
