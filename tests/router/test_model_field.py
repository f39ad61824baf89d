"""The finder of `model` agrees with a whole parse, however the body is cut into pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.body import Body
from router.model_field import Found, JsonField, in_multipart
from stoker.errors import InvalidRequest

_text = st.text(max_size=20)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_bodies = st.dictionaries(st.sampled_from(["model", "mode", "models", "", 'a"b', "stream"]) | _text, _values, max_size=6)


def _found(data: bytes, cuts: list[int]) -> Found:
    field, kept = JsonField(), bytearray()
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        kept += data[at:cut]
        at = max(at, cut)
        found = field.feed(kept, last=at >= len(data))
        if found is not None:
            return found
    raise AssertionError("no answer for a whole body")


@given(_bodies, st.booleans(), st.sampled_from([None, 2]), st.lists(st.integers(0, 400), max_size=6))
def test_it_finds_what_a_parser_finds(body: dict[str, Any], ascii_only: bool, indent: int | None, cuts: list[int]) -> None:
    data = json.dumps(body, ensure_ascii=ascii_only, indent=indent).encode()
    found = _found(data, [cut for cut in cuts if cut < len(data)])
    wanted = body.get("model")
    assert found.value == (wanted if isinstance(wanted, str) else None)
    if found.value is not None:
        assert json.loads(data[found.start : found.end]) == wanted


@given(_bodies, st.text(min_size=1, max_size=10))
def test_a_splice_changes_nothing_else(body: dict[str, Any], name: str) -> None:
    kept = Body(b"application/json")
    kept.add(json.dumps({**body, "model": "old"}).encode())
    kept.replace_model(name)
    assert json.loads(kept.kept) == {**body, "model": name}
    assert kept.size == len(kept.kept)


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_has_no_model(data: bytes) -> None:
    try:
        found = _found(data, [])
    except InvalidRequest:
        return
    assert found.value is None or isinstance(found.value, str)


@pytest.mark.parametrize(
    "escaped", ['{"mod\\u0065l": "x"}', '{"a": "\\"model\\": \\"no\\"", "model": "x"}', '\ufeff{"model": "x"}', ' { "model" :"x"}']
)
def test_escapes_and_spaces(escaped: str) -> None:
    assert _found(escaped.encode(), []).value == "x"


def test_nesting_has_a_limit() -> None:
    with pytest.raises(InvalidRequest):
        _found(b'{"a": ' + b"[" * 2_000, [])


def _form(*parts: tuple[str, bytes]) -> bytes:
    lines = b"".join(b"--XX\r\ncontent-disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return lines + b"--XX--\r\n"


@given(st.binary(max_size=300), st.integers(0, 600))
def test_multipart_in_any_order_and_pieces(file: bytes, cut: int) -> None:
    if b"--XX" in file:
        return
    data = _form(('name="file"; filename="model"', file), ('name="model"', b"whisper"), ('name="language"', b"en"))
    kind = b"multipart/form-data; boundary=XX"
    early = in_multipart(kind, data[:cut], last=False)
    assert early is None or early.value == "whisper"
    found = in_multipart(kind, data, last=True)
    assert found is not None and found.value == "whisper" and data[found.start : found.end] == b"whisper"
    assert in_multipart(kind, _form(("name=file", file)), last=True) == Found(None)


def test_a_small_body_is_read_whole_and_a_large_one_as_it_comes() -> None:
    small = Body(b"application/json")
    small.add(b'{"model": "a"')
    assert small.model(last=False) is None
    small.add(b"}")
    assert small.model(last=True) == Found("a")
    large = Body(b"")
    large.add(b'{"model": "a", "x": "' + b"y" * 70_000)
    found = large.model(last=False)
    assert found is not None and found.value == "a"
