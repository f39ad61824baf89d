"""The body of one request, as far as it is kept: until its service is known, and while it may have to be sent again."""

from __future__ import annotations

from typing import Any

import msgspec

from router.model_field import Found, JsonField, in_multipart
from stoker.errors import InvalidRequest

KEPT_FOR_RETRY = 2**20
"""Bytes; longer bodies are passed on as they come, once it is known where to, and cannot be sent twice."""

SMALL = 65_536
"""Up to here the body is looked at once, when it is whole, by a decoder in C."""


class _Wanted(msgspec.Struct):
    model: Any = None


class Body:
    """`size` counts all bytes that came, `kept` holds those that were not passed on yet."""

    __slots__ = ("_field", "_form", "_json", "_kept", "_more", "_type", "size")

    def __init__(self, content_type: bytes) -> None:
        self._type = content_type
        lower = content_type.lower()
        self._form = lower.startswith(b"multipart/form-data")
        self._json = b"json" in lower
        self._kept = b""
        self._more: bytearray | None = None
        self._field: JsonField | None = None
        self.size = 0

    def add(self, data: bytes) -> None:
        if self.size == 0:
            self._kept = data
        else:
            if self._more is None:
                self._more = bytearray(self._kept)
            self._more += data
        self.size += len(data)

    @property
    def kept(self) -> bytes:
        """All of it, as one piece."""
        if self._more is not None:
            self._kept = bytes(self._more)
            self._more = None
        return self._kept

    def forget(self) -> None:
        """It was passed on and will not be sent again."""
        self._kept, self._more = b"", None

    def model(self, last: bool) -> Found | None:
        """What the body names as its model; None while that may still come. Raises InvalidRequest."""
        body = self._more if self._more is not None else self._kept
        if not last and self.size < SMALL:
            return None
        if self._form:
            return in_multipart(self._type, body, last)
        if not self._json and not bytes(body[:64]).lstrip().startswith(b"{"):
            return Found(None)
        if self._field is None and last and self.size <= SMALL:
            return Found(_decoded(body))
        if self._field is None:
            self._field = JsonField()
        return self._field.feed(body, last)

    def replace_model(self, name: str) -> None:
        """Write another model's name in place of the one that is there. The body is whole."""
        body = self.kept
        found = in_multipart(self._type, body, True) if self._form else JsonField().feed(body, True)
        if found is None or found.value is None:
            return
        value = name.encode() if self._form else msgspec.json.encode(name)
        self._kept = body[: found.start] + value + body[found.end :]
        self.size = len(self._kept)

    def asks_for_stream(self) -> bool:
        """Whether a whole JSON body has `"stream": true`."""
        try:
            return msgspec.json.decode(self.kept, type=_Stream).stream is True
        except msgspec.MsgspecError:
            return False


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body; nothing for nothing, which would be its end."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class _Stream(msgspec.Struct):
    stream: Any = None


def _decoded(body: bytes | bytearray) -> str | None:
    if not body:
        return None
    try:
        model = msgspec.json.decode(body, type=_Wanted).model
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not a JSON object: {error}") from error
    return model if isinstance(model, str) else None
