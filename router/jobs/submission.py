"""Taking a job: what it is, who may send it where, and that its webhook may be called. 202 only once it is durable."""

from __future__ import annotations

import secrets

import msgspec
from starlette.responses import Response

from router.access import Principal
from router.admin.call import Call, Words, answer
from router.directory import Service
from router.finding import allow_path, find_model, find_service
from router.jobs import request_body
from router.jobs.api import seen, show_job
from router.jobs.reach import refuse_webhook
from router.paths import climbs
from router.plane import Plane
from router.request import Request
from stoker.errors import BodyTooLarge, Conflict, InvalidRequest, ResultGone, Unauthenticated
from stoker.jobs import ENDED, JobRecord

BODY_LIMIT = 32 * 2**20
LONGEST_DEADLINE = 7 * 86_400
_AROUND = 2**20
_LONGEST_KEY, _LONGEST_PATH = 255, 2_000


class Submit(Words, frozen=True, kw_only=True):
    """`service` or `model`, else `model` in the body; `priority` 0..100, higher first; `deadline_seconds` from now."""

    service: str | None = None
    model: str | None = None
    path: str = "/v1/chat/completions"
    body: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))
    webhook: str | None = None
    priority: int = 10
    deadline_seconds: float = 86_400


class Asked:
    """A job's request as `router.finding` sees it."""

    def __init__(self, plane: Plane, principal: Principal, path: str) -> None:
        self.plane = plane
        self.principal: Principal | None = principal
        self.denied: Unauthenticated | None = None
        self.service: Service | None = None
        self.request = Request("POST", path.encode(), [])
        self.path_at_engine = self.request.path


async def submit(call: Call) -> Response:
    """Accept an inference request for later. With `Idempotency-Key` the same request again gives the same job, for 24 hours."""
    words = await call.read(Submit, BODY_LIMIT + _AROUND)
    body = bytes(words.body)
    return (await take(call, words, body))[0]


async def take(call: Call, words: Submit, body: bytes) -> tuple[Response, str]:
    """The answer, and the job's id."""
    _check(words, body)
    known = request_body.read(body)
    service = _service(call, words, known.model)
    if len(body) > service.routing.max_body:
        raise BodyTooLarge(f"the body is larger than {service.routing.max_body} bytes (routing.max_body)", param="body")
    if words.webhook is not None:
        await refuse_webhook(words.webhook, call.context.settings)
    job = JobRecord(
        id=_new_id(),
        service=service.name,
        project=_owner(call.principal, service),
        token=call.principal.id,
        path=words.path,
        priority=words.priority,
        webhook=words.webhook,
        stream=known.stream,
    )
    body = request_body.with_model(body, words.path, service.names[0])
    return await _accept(call, job, body, words.deadline_seconds)


async def retry(call: Call) -> Response:
    """A new job with the request of one that has ended."""
    old = await seen(call, call.part("id"))
    if old.status not in ENDED:
        raise Conflict(f"the job {old.id} is {old.status.value}; only one that has ended is tried again")
    body = await call.context.store.jobs.input(old.id)
    if body is None:
        raise ResultGone(f"what the job {old.id} had to do is not kept any more; send it anew")
    service = find_service(Asked(call.context.plane, call.principal, old.path), old.service)
    fresh = JobRecord(
        id=_new_id(), service=service.name, project=old.project, token=call.principal.id, path=old.path, priority=old.priority,
        content_type=old.content_type, webhook=old.webhook, stream=old.stream, retry_of=old.id,
    )  # fmt: skip
    return (await _accept(call, fresh, body, max(1.0, old.deadline_at - old.created_at)))[0]


async def _accept(call: Call, job: JobRecord, body: bytes, deadline: float) -> tuple[Response, str]:
    context, key = call.context, call.request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidRequest(f"Idempotency-Key has 1 to {_LONGEST_KEY} characters", param="Idempotency-Key")
    record = context.mirror.tokens.get(call.principal.id)
    limit = (record.limits if record is not None else {}).get("jobs_queued", context.settings.jobs_queued_limit)
    accepted = await context.store.jobs.accept(
        job,
        body,
        deadline_seconds=deadline,
        idempotency_key=key,
        queued_limit=limit,
        bytes_limit=context.settings.jobs_bytes_limit,
    )
    await context.tell_runners(job.service)
    shown = await show_job(call, accepted)
    return answer(shown, 202, {"location": f"/v1/jobs/{accepted.id}"}), accepted.id


def _check(words: Submit, body: bytes) -> None:
    """The bounds of each field. Raises InvalidRequest, BodyTooLarge."""
    if len(body) > BODY_LIMIT:
        raise BodyTooLarge(f"body is larger than {BODY_LIMIT // 2**20} MiB", param="body")
    if not 0 <= words.priority <= 100:
        raise InvalidRequest("priority is a number from 0 to 100, higher is first", param="priority")
    if not 0 < words.deadline_seconds <= LONGEST_DEADLINE:
        raise InvalidRequest(f"deadline_seconds is above 0 and at most {LONGEST_DEADLINE} (seven days)", param="deadline_seconds")
    path = words.path
    if not path.startswith("/") or path.startswith("//") or len(path) > _LONGEST_PATH or not path.isascii() or not path.isprintable():
        raise InvalidRequest("path is one of the engine, such as /v1/chat/completions", param="path")
    if " " in path or climbs(path):
        raise InvalidRequest("path has no blanks and no segment . or ..", param="path")


def _service(call: Call, words: Submit, model: str | None) -> Service:
    """Raises ModelNotFound, ModelRequired, PathRefused."""
    asked = Asked(call.context.plane, call.principal, words.path)
    if words.service is not None:
        service = find_service(asked, words.service[:200])
    else:
        service = find_model(asked, words.model or model)
    allow_path(service, "POST", asked.path_at_engine, call.principal)
    return service


def _owner(principal: Principal, service: Service) -> str:
    """Whose job it is: the project of who sends it, also to another's public service; an admin's is the service's."""
    return service.project if principal.is_admin else principal.project


def _new_id() -> str:
    return f"job_{secrets.token_hex(16)}"
