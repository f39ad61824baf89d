"""The HTTP face: OpenAI's calls, /health, /metrics, /tokenize. A client that leaves stops its work."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from model_variants.demo_engine import answers
from model_variants.demo_engine.embedding import as_base64, embed
from model_variants.demo_engine.engine import Aborted, Engine
from model_variants.demo_engine.generating import Step
from model_variants.demo_engine.requests import Job, Refusal, chat_job, completion_job, decode, embedding_inputs, model_of

BODY_LIMIT = 16 * 2**20
_JSON = (b"content-type", b"application/json")
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]

Answer = Callable[[Engine, dict[str, Any], Send], Awaitable[None]]


def create_app(engine: Engine) -> Starlette:
    """`engine` is loaded by the lifespan."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(engine.load())
            yield
            loading.cancel()

    routes = [
        Route("/health", _Plain(engine, _health), methods=["GET"]),
        Route("/metrics", _Plain(engine, _metrics), methods=["GET"]),
        Route("/v1/models", _Guarded(engine, _models), methods=["GET"]),
        Route("/v1/chat/completions", _Guarded(engine, _chat), methods=["POST"]),
        Route("/v1/completions", _Guarded(engine, _completion), methods=["POST"]),
        Route("/v1/embeddings", _Guarded(engine, _embeddings), methods=["POST"]),
        Route("/tokenize", _Guarded(engine, _tokenize), methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


class _Plain:
    """A GET that needs no key."""

    def __init__(self, engine: Engine, answer: Callable[[Engine, Send], Awaitable[None]]) -> None:
        self._engine = engine
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(self._engine, send)


class _Guarded:
    """The key, the body, the errors; and the client's leaving."""

    def __init__(self, engine: Engine, answer: Answer) -> None:
        self._engine = engine
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check_key(scope)
            body = decode(await _read(receive)) if scope["method"] == "POST" else {}
            if not self._engine.loaded.is_set():
                raise Refusal("the model is still loading", status=503, code="loading")
            await _unless_gone(self._answer(self._engine, body, send), receive)
        except Refusal as refusal:
            value = answers.error(refusal.message, refusal.status, param=refusal.param, code=refusal.code)
            await _send_json(send, value, refusal.status)

    def _check_key(self, scope: Scope) -> None:
        key = self._engine.settings.api_key
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if key is not None and not hmac.compare_digest(given, b"Bearer " + key.encode()):
            raise Refusal("the API key is missing or wrong", status=401, code="invalid_api_key")


async def _unless_gone(work: Awaitable[None], receive: Receive) -> None:
    """`work`, cancelled where the client closes the connection first."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        finished = task.done()
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)
    if finished:
        task.result()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive) -> bytes:
    parts, size, more = list[bytes](), 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > BODY_LIMIT:
            raise Refusal(f"the body is larger than {BODY_LIMIT} bytes", status=413)
    return b"".join(parts)


async def _send_json(send: Send, value: dict[str, Any], status: int = 200) -> None:
    await _send_bytes(send, msgspec.json.encode(value), status, _JSON)


async def _send_bytes(send: Send, body: bytes, status: int, kind: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [kind, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


async def _health(engine: Engine, send: Send) -> None:
    loaded = engine.loaded.is_set()
    await _send_json(send, {"status": "ok" if loaded else "loading"}, 200 if loaded else 503)


async def _metrics(engine: Engine, send: Send) -> None:
    text = engine.metrics.text(engine.gate.running, engine.gate.waiting)
    await _send_bytes(send, text.encode(), 200, (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"))


async def _models(engine: Engine, body: dict[str, Any], send: Send) -> None:
    about = (
        f"A small statistical language model: word n-grams with back-off, learnt at its start from {engine.origin} "
        f"({engine.model.size} tokens). No neural network, no weights. Embeddings are hashed random projections."
    )
    more = {"owned_by": "stoker-demo", "description": about, "max_model_len": engine.settings.context_length}
    data = [{"id": name, "object": "model", "created": 0, **more} for name in engine.settings.model_names]
    await _send_json(send, {"object": "list", "data": data})


async def _tokenize(engine: Engine, body: dict[str, Any], send: Send) -> None:
    if not isinstance(body.get("prompt"), str):
        raise Refusal("prompt is a text", param="prompt")
    ids = engine.model.tokenizer.encode(body["prompt"])
    await _send_json(send, {"count": len(ids), "max_model_len": engine.settings.context_length, "tokens": ids})


async def _embeddings(engine: Engine, body: dict[str, Any], send: Send) -> None:
    model = model_of(body, engine.settings.model_names)
    tokenizer = engine.model.tokenizer
    texts, dimensions, packed = embedding_inputs(body, tokenizer)
    tokens = 0
    data: list[dict[str, Any]] = []
    async with engine.gate.place():
        for at, text in enumerate(texts):
            vector = embed(text, dimensions)
            tokens += len(tokenizer.encode(text))
            data.append({"object": "embedding", "index": at, "embedding": as_base64(vector) if packed else vector})
            await asyncio.sleep(0)
    engine.metrics.prompt_tokens += tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    await _send_json(send, {"object": "list", "data": data, "model": model, "usage": usage})


async def _chat(engine: Engine, body: dict[str, Any], send: Send) -> None:
    settings = engine.settings
    await _generate(engine, chat_job(body, settings.model_names, engine.model.tokenizer, settings.context_length), send)


async def _completion(engine: Engine, body: dict[str, Any], send: Send) -> None:
    settings = engine.settings
    await _generate(engine, completion_job(body, settings.model_names, engine.model.tokenizer, settings.context_length), send)


async def _generate(engine: Engine, job: Job, send: Send) -> None:
    head = answers.Head.of(job)
    if job.stream:
        await _stream(engine, head, send)
        return
    choices, made = engine.echoed(job), 0
    async with aclosing(engine.run(job)) as steps:
        async for choice, step in steps:
            choices[choice].append(step)
            made += 1
    await _send_json(send, answers.whole(head, choices, made))


async def _stream(engine: Engine, head: answers.Head, send: Send) -> None:
    """The head goes out with the first token, so that what fails before it is still an error with a status."""
    job, made = head.job, 0
    async with aclosing(engine.run(job)) as steps:
        async for choice, step in steps:
            if not made:
                await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
                await _send_opening(engine, head, send)
            made += 1
            await _send_event(send, answers.event(answers.chunk(head, choice, step)))
            if engine.settings.abort_stream_after is not None and made >= engine.settings.abort_stream_after:
                raise Aborted
    if not made:
        await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
    if job.include_usage:
        await _send_event(send, answers.event(head.object([], chunk=True, usage=answers.usage(job.prompt_tokens, made))))
    await send({"type": "http.response.body", "body": answers.DONE})


async def _send_opening(engine: Engine, head: answers.Head, send: Send) -> None:
    for choice, steps in enumerate(engine.echoed(head.job)):
        if head.job.chat:
            await _send_event(send, answers.event(answers.role_chunk(head, choice)))
        for step in steps:
            await _send_event(send, answers.event(answers.chunk(head, choice, _unfinished(step))))


def _unfinished(step: Step) -> Step:
    return msgspec.structs.replace(step, finish=None)


async def _send_event(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
