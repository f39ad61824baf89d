"""The body of a job's request: what is read of it, and the model's name where the client left it out. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from stoker.errors import InvalidRequest


class _Known(msgspec.Struct):
    model: Any = msgspec.UNSET
    stream: Any = False


class Read(msgspec.Struct, frozen=True):
    """`model` as the body names it, None without; `stream` whether it asks for one."""

    model: str | None
    stream: bool


def read(body: bytes) -> Read:
    """Raises InvalidRequest for what is no JSON object."""
    try:
        known = msgspec.json.decode(body, type=_Known)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise InvalidRequest("body is a JSON object: what would be sent to the engine", param="body") from None
    return Read(known.model if isinstance(known.model, str) else None, known.stream is True)


def with_model(body: bytes, path: str, name: str) -> bytes:
    """The same, with `model` put in front where an OpenAI path needs it and there is none; nothing else is touched."""
    if not path.startswith("/v1/") or msgspec.json.decode(body, type=_Known).model is not msgspec.UNSET:
        return body
    rest = body.lstrip()[1:].lstrip()
    comma = b"" if rest.startswith(b"}") else b","
    return b'{"model":' + msgspec.json.encode(name) + comma + rest
