"""What the end of one try means for its job. Pure.

A job ends when the engine has answered for good. It waits again, with a pause that grows, when the engine failed; it counts
a crash when an engine went down under it; nothing is counted when neither job nor engine is to blame.
"""

from __future__ import annotations

import msgspec

from stoker.jobs import JobRecord, JobResult
from stoker.records import Reason

RETRIES = 5
"""Answers of the engine that say that it failed, before the last one of them is the result."""

_LONGEST_PAUSE = 60.0
_PASSING = frozenset({408, 425, 429})
_FOR_GOOD = frozenset({"invalid_request", "path_refused", "body_too_large"})
_PAUSES = {"service_stopped": 5.0, "start_failed": 10.0, "invalid_api_key": 5.0}
_SAID = 300


class Ended(msgspec.Struct, frozen=True):
    """How one request to a router ended. `status` 0: no answer; `error` is the router's own code; `lost`: it broke off, with

    `router_lives` whether a router still answers at that address.
    """

    status: int = 0
    content_type: str = "application/octet-stream"
    body: bytes = b""
    error: str = ""
    lost: str = ""
    router_lives: bool = True
    too_large: bool = False


class Again(msgspec.Struct, frozen=True):
    """Back to the queue, after `pause` seconds."""

    pause: float
    crashed: bool = False
    retries: int = 0


class Done(msgspec.Struct, frozen=True):
    """The end: succeeded without a `reason`, failed with one."""

    result: JobResult | None
    reason: Reason | None = None


def judge(job: JobRecord, ended: Ended) -> Again | Done:
    """1. Too large to keep: failed.
    2. The connection broke. Its router went down: nothing is counted. The engine did: a crash.
    3. The router's own word.
    4. The engine's answer: 2xx succeeded; what may pass is tried again; everything else is the client's own and final.
    """
    if ended.too_large:  # (1)
        return Done(None, Reason("result_too_large", "the engine's answer is larger than what is kept of a job (32 MiB)"))
    if ended.lost:  # (2)
        return Again(_pause(job.crashes), crashed=True, retries=job.retries) if ended.router_lives else Again(0.2, retries=job.retries)
    if ended.error:  # (3)
        return _own_word(job, ended)
    result = JobResult(status=ended.status, content_type=ended.content_type, body=ended.body)  # (4)
    if 200 <= ended.status < 300:
        return Done(result)
    if ended.status >= 500 or ended.status in _PASSING:
        return _failed(job, Reason("engine_failed", f"the engine answered {ended.status}: {_text(ended)}"), result)
    return Done(result, Reason("engine_refused", f"the engine answered {ended.status}: {_text(ended)}"))


def _own_word(job: JobRecord, ended: Ended) -> Again | Done:
    if ended.error in ("engine_failed", "stream_interrupted"):
        return Again(_pause(job.crashes), crashed=True, retries=job.retries)
    if ended.error == "handed_back":
        return Again(0.05, retries=job.retries)
    if ended.error == "engine_timeout":
        return _failed(job, Reason("engine_timeout", _text(ended)), None)
    if ended.error in _FOR_GOOD:
        return Done(None, Reason(ended.error, _text(ended)))
    return Again(_PAUSES.get(ended.error, 1.0), retries=job.retries)


def _failed(job: JobRecord, reason: Reason, result: JobResult | None) -> Again | Done:
    if job.retries >= RETRIES:
        return Done(result, reason)
    return Again(_pause(job.retries + 1), retries=job.retries + 1)


def _pause(times: int) -> float:
    return float(min(_LONGEST_PAUSE, 0.5 * 2**times))


def _text(ended: Ended) -> str:
    return ended.body[:_SAID].decode("utf-8", "replace").strip() or f"status {ended.status}"
