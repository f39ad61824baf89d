"""A job as clients see it, and who may see it."""

from __future__ import annotations

import msgspec

from router.access import Principal, may_see
from router.admin.views import moment
from stoker.jobs import JobRecord, JobStatus
from stoker.records import Reason


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The public contract's job, section 4, and a little more. Times RFC 3339 in UTC."""

    id: str
    object: str = "job"
    service: str
    path: str
    status: str
    reason: Reason | None = None
    attempts: int = 0
    position: int | None = None
    eta_seconds: float | None = None
    created_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str | None = None
    deadline_at: str | None = None
    retry_of: str | None = None
    project: str = ""
    priority: int = 10
    stream: bool = False
    webhook: str | None = None


def view(job: JobRecord, position: int | None = None) -> Job:
    """`position` counts those before it, where it waits; shown from 1."""
    return Job(
        id=job.id,
        service=job.service,
        path=job.path,
        status=job.status.value,
        reason=job.reason,
        attempts=job.attempts,
        position=None if position is None or job.status is not JobStatus.QUEUED else position + 1,
        created_at=moment(job.created_at),
        started_at=moment(job.started_at),
        finished_at=moment(job.finished_at),
        expires_at=moment(job.expires_at),
        deadline_at=moment(job.deadline_at),
        retry_of=job.retry_of,
        project=job.project,
        priority=job.priority,
        stream=job.stream,
        webhook=job.webhook,
    )


def may_see_job(principal: Principal, job: JobRecord) -> bool:
    """Its own token, and the deployers and admins of its project."""
    if principal.id == job.token:
        return True
    return principal.role in ("admin", "deployer") and may_see(principal, job.project, job.service)
