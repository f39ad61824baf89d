"""Where `"model"` stands in a request's body, found without parsing the rest.

`JsonField` is fed the pieces of a JSON body as they come and remembers where it was: no piece is looked at twice (but for a
token that a piece ends in), and it stops at the value. Only the outermost object counts. `in_multipart` reads the field of
a form. Both give byte offsets, so that the value can be replaced by a splice instead of writing the body anew.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from stoker.errors import InvalidRequest

VALUE_LIMIT = 512
"""Bytes of a model's name on the wire; longer ones are no names."""

_DEPTH_LIMIT = 1_000
_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING_PART = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_PLAIN = re.compile(rb'[^"{}\[\]]*+')
_SCALAR = re.compile(rb"[^,\]}\s]*+")


class Found(NamedTuple):
    """`value` is the name, or None where the field is absent or no string; `start:end` are the bytes of the value, quotes included."""

    value: str | None
    start: int = 0
    end: int = 0


class _More(Exception):
    """The piece ends inside of a token."""


class JsonField:
    """The value of one string field of the outermost object. `feed` gives None while more is needed."""

    def __init__(self, name: bytes = b"model") -> None:
        self._name = name
        self._at = 0
        self._depth = 0
        self._in_string = False
        self._expect = self._open

    def feed(self, body: bytes | bytearray, last: bool) -> Found | None:
        """Look on in `body`, which holds everything so far; `last` when it is whole. Raises InvalidRequest for what is no JSON object."""
        try:
            while True:
                found = self._expect(body)
                if found is not None:
                    return found
        except _More:
            if last:
                raise InvalidRequest("the body ends in the middle of its JSON") from None
            return None

    # each step looks at one token from self._at on, moves there and names the next step

    def _open(self, body: bytes | bytearray) -> Found | None:
        if self._at == 0 and body[:3] == b"\xef\xbb\xbf":
            self._at = 3
        if self._next(body) != 0x7B:
            raise InvalidRequest("the body is not a JSON object")
        self._at += 1
        self._expect = self._key
        return None

    def _key(self, body: bytes | bytearray) -> Found | None:
        sign = self._next(body)
        if sign == 0x7D:
            return Found(None)
        if sign == 0x2C:
            self._at += 1
            sign = self._next(body)
        if sign != 0x22:
            raise InvalidRequest("the body is not valid JSON: a field's name was expected")
        end = self._string_end(body, self._at + 1)
        key, after = bytes(body[self._at + 1 : end]), end + 1
        colon = _end(_SPACE, body, after)
        if colon >= len(body):
            raise _More
        if body[colon] != 0x3A:
            raise InvalidRequest("the body is not valid JSON: a colon was expected")
        self._at = colon + 1
        self._expect = self._wanted if self._is_wanted(key) else self._skip
        return None

    def _is_wanted(self, key: bytes) -> bool:
        if key == self._name:
            return True
        return b"\\" in key and len(key) <= VALUE_LIMIT and _text(b'"' + key + b'"').encode() == self._name

    def _wanted(self, body: bytes | bytearray) -> Found | None:
        if self._next(body) != 0x22:
            return Found(None)
        end = self._string_end(body, self._at + 1)
        if end - self._at > VALUE_LIMIT:
            raise InvalidRequest("the model's name is too long", param="model")
        return Found(_text(bytes(body[self._at : end + 1])), self._at, end + 1)

    def _skip(self, body: bytes | bytearray) -> Found | None:
        sign = self._next(body)
        if sign == 0x22:
            self._at += 1
            self._expect = self._rest_of_string
        elif sign in b"{[":
            self._expect = self._rest_of_nest
        else:
            self._expect = self._rest_of_scalar
        return None

    def _rest_of_string(self, body: bytes | bytearray) -> Found | None:
        self._pass_string(body)
        self._expect = self._key
        return None

    def _rest_of_scalar(self, body: bytes | bytearray) -> Found | None:
        self._at = _end(_SCALAR, body, self._at)
        if self._at >= len(body):
            raise _More
        self._expect = self._key
        return None

    def _rest_of_nest(self, body: bytes | bytearray) -> Found | None:
        while True:
            if self._in_string:
                self._pass_string(body)
                self._in_string = False
            self._at = _end(_PLAIN, body, self._at)
            if self._at >= len(body):
                raise _More
            sign = body[self._at]
            self._at += 1
            if sign == 0x22:
                self._in_string = True
            elif sign in b"{[":
                self._depth += 1
                if self._depth > _DEPTH_LIMIT:
                    raise InvalidRequest("the body is nested too deeply")
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._expect = self._key
                    return None

    # tokens

    def _next(self, body: bytes | bytearray) -> int:
        """The next byte that is no white space, without taking it."""
        self._at = _end(_SPACE, body, self._at)
        if self._at >= len(body):
            raise _More
        return body[self._at]

    def _pass_string(self, body: bytes | bytearray) -> None:
        """Go behind the closing quote of the string that self._at is in; a piece that ends before it is not looked at again."""
        self._at = _end(_STRING_PART, body, self._at)
        if self._at >= len(body) or body[self._at] != 0x22:
            raise _More
        self._at += 1

    def _string_end(self, body: bytes | bytearray, start: int) -> int:
        """Where the closing quote of a name or of the value is; those are short, so starting again with the next piece is cheap."""
        end = _end(_STRING_PART, body, start)
        if end >= len(body) or body[end] != 0x22:
            if len(body) - start > _KEY_LIMIT:
                raise InvalidRequest("a field's name in the body is too long")
            raise _More
        return end


_KEY_LIMIT = 65_536


def _end(pattern: re.Pattern[bytes], body: bytes | bytearray, start: int) -> int:
    match = pattern.match(body, start)
    return match.end() if match else start


def _text(quoted: bytes) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError as error:
        raise InvalidRequest("the model's name in the body is not valid JSON", param="model") from error


_BOUNDARY = re.compile(rb'boundary=(?:"([^"]{1,70})"|([^\s;,]{1,70}))', re.IGNORECASE)
_DISPOSITION = re.compile(rb'content-disposition:[^\r\n]*?;\s*name="?model"?\s*(?:;[^\r\n]*)?\r\n', re.IGNORECASE)


def in_multipart(content_type: bytes, body: bytes | bytearray, last: bool) -> Found | None:
    """The field `model` of a multipart/form-data body that holds everything so far; None while it may still come.

    The offsets are of the bare value. Raises InvalidRequest without a boundary.
    """
    named = _BOUNDARY.search(content_type)
    if named is None:
        raise InvalidRequest("the multipart body names no boundary")
    mark = b"--" + (named[1] or named[2])
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark)
    while at >= 0:
        head = body.find(mark, at) + len(mark)
        if body[head : head + 2] == b"--":
            return Found(None)
        start = body.find(b"\r\n\r\n", head)
        following = body.find(b"\r\n" + mark, head)
        if start < 0 or following < 0:
            break
        if _DISPOSITION.search(bytes(body[head : start + 2])):
            return _form_value(body, start + 4, following)
        at = following
    return Found(None) if last else None


def _form_value(body: bytes | bytearray, start: int, end: int) -> Found:
    if end - start > VALUE_LIMIT:
        raise InvalidRequest("the model's name is too long", param="model")
    try:
        return Found(bytes(body[start:end]).decode(), start, end)
    except UnicodeDecodeError as error:
        raise InvalidRequest("the model's name is not UTF-8", param="model") from error
