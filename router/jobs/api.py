"""GET and DELETE of /v1/jobs: each token sees its own; deployers and admins those of their project."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.responses import Response

from router.admin import shapes
from router.admin.call import PAGE, PAGE_LIMIT, Call, answer
from router.jobs.views import Job, may_see_job, view
from stoker.errors import Conflict, InvalidRequest, JobNotFinished, NotAllowed, NotFound, Refused, ResultGone, StoreUnavailable
from stoker.jobs import ENDED, JobRecord, JobStatus
from stoker.keyring import webhook_secret as derive_secret

WAIT_LIMIT = 60
_SCANNED = 2_000
"""Jobs that one page looks at, where a filter leaves most of them out."""

_LOOKS = (0.02, 0.02, 0.05, 0.05, 0.1)
"""Seconds between looks at a job that is waited for; then the last one for good."""


class WebhookSecret(msgspec.Struct, frozen=True):
    """What the signatures of a project's webhooks are made with."""

    project: str
    secret: str


async def index(call: Call) -> Response:
    """The newest first; `?status=` and `?service=` narrow it."""
    status, service = _status(call.text("status")), call.text("service")
    limit = int(call.number("limit", 1, PAGE_LIMIT) or PAGE)
    before, found, scanned = _cursor(call.text("cursor")), list[JobRecord](), 0
    while len(found) < limit and scanned < _SCANNED:
        rows = await _newest(call, min(limit, 500), before)
        scanned += len(rows)
        for job in rows:
            before = job.created_at
            if status in (None, job.status) and service in (None, job.service) and may_see_job(call.principal, job):
                found.append(job)
                if len(found) == limit:
                    break
        if len(rows) < min(limit, 500) and len(found) < limit:
            before = None
            break
    return answer(shapes.Page([view(job) for job in found], None if before is None else f"{before:.6f}"))


async def show(call: Call) -> Response:
    """One job; `?wait=S` waits at most so many seconds for its end."""
    job = await awaited(call, await seen(call, call.part("id")), call.number("wait", 0, WAIT_LIMIT) or 0.0)
    return answer(await show_job(call, job))


async def cancel(call: Call) -> Response:
    """It ends as cancelled, and the engine is freed; one that has ended stays as it is."""
    job = await seen(call, call.part("id"))
    if job.status not in ENDED:
        try:
            await call.context.store.jobs.cancel(job)
            await call.context.runners.call(f"cancel {job.id}")
        except (Refused, StoreUnavailable) as error:
            if isinstance(error, StoreUnavailable) and (await call.context.store.jobs.need(job.id)).status not in ENDED:
                raise
    return answer(await show_job(call, await call.context.store.jobs.need(job.id)))


async def result(call: Call) -> Response:
    """What the engine answered: its status, type and body; `?wait=S` waits at most so many seconds for it."""
    job = await awaited(call, await seen(call, call.part("id")), call.number("wait", 0, WAIT_LIMIT) or 0.0)
    if job.status not in ENDED:
        raise JobNotFinished(f"the job {job.id} is {job.status.value}; ask again, with ?wait=60", retry_after=1)
    kept = await call.context.store.jobs.result(job.id)
    headers = {"x-stoker-job-status": job.status.value}
    if kept is not None:
        return Response(kept.body, kept.status, {**headers, "content-type": kept.content_type})
    if job.gone or job.status is JobStatus.SUCCEEDED:
        raise ResultGone(f"the result of the job {job.id} is not kept any more")
    why = f": {job.reason.code}: {job.reason.message}" if job.reason else ""
    raise Conflict(f"the job {job.id} has no result, it {_ended(job.status)}{why}")


async def webhook_secret(call: Call) -> Response:
    """The secret of the project's webhooks, for those who verify their signatures (Standard Webhooks)."""
    project = call.text("project") or call.principal.project
    if not call.sees(project):
        raise NotAllowed(f"the project {project[:80]} is not this token's")
    return answer(WebhookSecret(project, derive_secret(call.context.cluster_key, project)))


async def seen(call: Call, id: str) -> JobRecord:
    """Raises NotFound, also for what this token may not see."""
    job = await call.context.store.jobs.get(id) if len(id) < 100 else None
    if job is None or not may_see_job(call.principal, job):
        raise NotFound(f"there is no job {id[:80]}; `stoker job ls` lists them")
    return job


async def show_job(call: Call, job: JobRecord) -> Job:
    """With its place in the queue, where it waits."""
    waits = job.status is JobStatus.QUEUED
    return view(job, await call.context.store.jobs.position(job) if waits else None)


async def awaited(call: Call, job: JobRecord, seconds: float) -> JobRecord:
    """The job once it has ended, or as it is after so many seconds."""
    clock, looks = call.context.clock, 0
    until = clock.monotonic() + seconds
    while job.status not in ENDED and (left := until - clock.monotonic()) > 0 and not call.context.life.draining:
        await asyncio.sleep(min(left, _LOOKS[min(looks, len(_LOOKS) - 1)]))
        looks += 1
        job = await call.context.store.jobs.need(job.id)
    return job


async def _newest(call: Call, limit: int, before: float | None) -> list[JobRecord]:
    """Of all that this token may see, and of some that it may not."""
    jobs, principal = call.context.store.jobs, call.principal
    if principal.role == "user":
        return await jobs.by_token(principal.id, limit=limit, before=before)
    return await jobs.of_project(call.text("project") or principal.project or "default", limit=limit, before=before)


def _status(word: str | None) -> JobStatus | None:
    if word is None:
        return None
    try:
        return JobStatus(word)
    except ValueError:
        raise InvalidRequest(f"status is one of {', '.join(JobStatus)}", param="status") from None


def _cursor(word: str | None) -> float | None:
    try:
        return None if word is None else float(word)
    except ValueError:
        raise InvalidRequest("cursor is `next` of the page before", param="cursor") from None


def _ended(status: JobStatus) -> str:
    return {"cancelled": "was cancelled", "expired": "expired"}.get(status.value, "failed")
