"""The shapes of OpenAI's answers: whole, in chunks, as errors."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec

from model_variants.demo_engine.generating import Step
from model_variants.demo_engine.requests import Job

DONE = b"data: [DONE]\n\n"


class Head(msgspec.Struct, frozen=True):
    """What all chunks of one answer share."""

    id: str
    created: int
    job: Job

    @classmethod
    def of(cls, job: Job) -> Head:
        return cls(("chatcmpl-" if job.chat else "cmpl-") + secrets.token_hex(12), int(time.time()), job)

    def object(self, choices: list[dict[str, Any]], *, chunk: bool = False, **more: object) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if self.job.chat else "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.job.model, "choices": choices, **more}


def event(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def role_chunk(head: Head, choice: int) -> dict[str, Any]:
    """The first chunk of a chat choice."""
    delta = {"role": "assistant", "content": ""}
    return head.object([{"index": choice, "delta": delta, "logprobs": None, "finish_reason": None}], chunk=True)


def chunk(head: Head, choice: int, step: Step) -> dict[str, Any]:
    """One token; the last of a choice carries the finish reason."""
    if not head.job.chat:
        shown = {"index": choice, "text": step.text, "logprobs": _completion_logprobs(head.job, [step]), "finish_reason": step.finish}
        return head.object([shown], chunk=True)
    delta = {"content": step.text} if step.text or not step.finish else {}
    shown = {"index": choice, "delta": delta, "logprobs": _chat_logprobs(head.job, [step]), "finish_reason": step.finish}
    return head.object([shown], chunk=True)


def whole(head: Head, choices: list[list[Step]], completion_tokens: int) -> dict[str, Any]:
    """The answer in one piece; `choices` holds the steps of each."""
    made = [_choice(head.job, at, steps) for at, steps in enumerate(choices)]
    return head.object(made, usage=usage(head.job.prompt_tokens, completion_tokens))


def _choice(job: Job, at: int, steps: list[Step]) -> dict[str, Any]:
    text, finish = "".join(step.text for step in steps), next((step.finish for step in reversed(steps) if step.finish), "length")
    if job.chat:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": at, "message": message, "logprobs": _chat_logprobs(job, steps), "finish_reason": finish}
    return {"index": at, "text": text, "logprobs": _completion_logprobs(job, steps), "finish_reason": finish}


def _chat_logprobs(job: Job, steps: list[Step]) -> dict[str, Any] | None:
    if job.sampling.top is None:
        return None
    return {
        "content": [
            {**_token(step.token, step.logprob or 0.0), "top_logprobs": [_token(token, p) for token, p in step.top]}
            for step in steps
            if step.logprob is not None
        ],
        "refusal": None,
    }


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _completion_logprobs(job: Job, steps: list[Step]) -> dict[str, Any] | None:
    if job.sampling.top is None:
        return None
    offsets, at = [], 0
    for step in steps:
        offsets.append(at)
        at += len(step.token)
    return {
        "tokens": [step.token for step in steps],
        "token_logprobs": [step.logprob for step in steps],
        "top_logprobs": [dict(step.top) if step.top else None for step in steps],
        "text_offset": offsets,
    }


def error(message: str, status: int, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    kind = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}.get(status)
    kind = kind or ("invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
