"""GET /v1/jobs/{id}/events: the job's log as server-sent events, replayed and followed from the store, so on any router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from router.admin.call import Call
from router.jobs.api import seen
from router.jobs.views import view
from stoker.errors import InvalidRequest, StoreUnavailable
from stoker.jobs import ENDED, JobEvent, JobRecord

PING_SECONDS = 15.0
_QUICK, _SLOW = 0.03, 0.4
_PORTION = 200


async def events(call: Call) -> Response:
    """`event: status|chunk|done` with rising numbers as ids; `Last-Event-ID` goes on behind that one; `?follow=false`: those there are."""
    job = await seen(call, call.part("id"))
    text = call.request.headers.get("last-event-id") or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidRequest("Last-Event-ID is the id of an event of this job, a number", param="last-event-id")
    headers = {"cache-control": "no-cache"}
    following = call.text("follow") is None or call.flag("follow")
    return StreamingResponse(_follow(call, job, int(text), following), headers=headers, media_type="text/event-stream")


async def _follow(call: Call, job: JobRecord, number: int, following: bool) -> AsyncIterator[bytes]:
    """Until `done`, or until this router ends; then the client asks another one for the rest."""
    jobs, clock = call.context.store.jobs, call.context.clock
    pause, told_at = _QUICK, clock.monotonic()
    yield b": events of the job\n\n"
    while not call.context.life.draining:
        try:
            found = await jobs.log.after(job, number, _PORTION)
            job = await jobs.need(job.id) if not found or found[-1].kind == "done" else job
        except StoreUnavailable:
            found = []
        for event in found:
            number = event.number
            yield _written(event, job)
            if event.kind == "done":
                return
        if not found and job.status in ENDED:
            yield _written(JobEvent(number + 1, "done", ""), job)  # the log is not kept any more, or was read to its end
            return
        if not found and not following:
            return
        if clock.monotonic() - told_at >= PING_SECONDS:
            yield b": ping\n\n"
        told_at = clock.monotonic() if found or clock.monotonic() - told_at >= PING_SECONDS else told_at
        pause = _QUICK if found else min(_SLOW, pause * 1.3)
        if len(found) < _PORTION:
            await asyncio.sleep(pause)


def _written(event: JobEvent, job: JobRecord) -> bytes:
    """One event; the data of `done` is the job."""
    data = msgspec.json.encode(view(job)).decode() if event.kind == "done" else event.data
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"id: {event.number}\nevent: {event.kind}\n{lines}\n".encode()
