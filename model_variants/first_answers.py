"""The smallest requests that show that an engine can answer, not only listen."""

from __future__ import annotations

import msgspec

from model_variants.base import FirstAnswer, Launch


def one_token(launch: Launch, model: str) -> FirstAnswer | None:
    """A completion of one token. None where the spec brought its own command."""
    if launch.spec.command:
        return None
    return FirstAnswer("/v1/completions", msgspec.json.encode({"model": model, "prompt": "Hi", "max_tokens": 1}))


def one_chat_token(launch: Launch, model: str) -> FirstAnswer | None:
    """The same for engines that have no completions."""
    if launch.spec.command:
        return None
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    return FirstAnswer("/v1/chat/completions", msgspec.json.encode(body))


def one_embedding(launch: Launch, model: str) -> FirstAnswer | None:
    """An embedding of one word."""
    if launch.spec.command:
        return None
    return FirstAnswer("/v1/embeddings", msgspec.json.encode({"model": model, "input": "Hi"}))
