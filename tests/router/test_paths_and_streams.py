"""Operator paths in every spelling; event streams that never show half an event."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.paths import PathRules, climbs, plain
from router.request import Addressing, Place
from router.streams import EventStream

_segment = st.text("abz-_", min_size=1, max_size=6)


def _spellings(sign: str) -> list[str]:
    if sign == "/":
        return ["/", "//", "/%2f"]
    return [sign, sign.upper(), f"%{ord(sign):02x}", quote(f"%{ord(sign):02X}")]


@given(st.lists(_segment, min_size=1, max_size=3), st.data())
def test_no_spelling_of_a_refused_path_slips_by(segments: list[str], data: st.DataObject) -> None:
    path = "/" + "/".join(segments)
    spelt = "".join(data.draw(st.sampled_from(_spellings(sign))) for sign in path)
    rules = PathRules((path,))
    assert rules.refuses("GET", spelt) and rules.refuses("POST", spelt + "/") and rules.refuses("GET", spelt + "/below")
    assert not rules.refuses("GET", "/other" + spelt)


def test_rules_with_methods_and_stars_and_exceptions() -> None:
    rules = PathRules(("POST /sleep", "/v1/*_adapter", "/metrics"), allow=("/metrics",), deny=("/v1/files",))
    assert rules.refuses("POST", "/sleep") and not rules.refuses("GET", "/sleep")
    assert rules.refuses("POST", "/v1/load_adapter") and not rules.refuses("POST", "/v1/adapters")
    assert not rules.refuses("GET", "/metrics") and rules.refuses("GET", "/v1/files")
    assert not PathRules(()).refuses("GET", "/anything")


@pytest.mark.parametrize("path", ["/a/../b", "/..", "/./a", "/a/.", "/a/%2e%2e/b", "/a/%252e%252e/b", "/a\\..\\b", "/a/..%2fb"])
def test_climbing_is_seen(path: str) -> None:
    assert climbs(path)


@pytest.mark.parametrize("path", ["/a.b/c", "/v1.5", "/...", "/a/..b", "/"])
def test_dots_in_names_are_no_climbing(path: str) -> None:
    assert not climbs(path) and plain(path).startswith("/")


def test_places() -> None:
    addressing = Addressing("example.org", True)
    assert addressing.place(b"/v1/chat/completions", b"example.org") == Place(None, b"/v1/chat/completions")
    assert addressing.place(b"/v1/models", b"x") is None and addressing.place(b"/v1/jobs/1", b"x") is None
    assert addressing.place(b"/v1/modelsx", b"x") == Place(None, b"/v1/modelsx")
    assert addressing.place(b"/services/a-b/c?d", b"x") == Place("a-b", b"/c?d")
    assert addressing.place(b"/services/a?d", b"x") == Place("a", b"/?d")
    assert addressing.place(b"/services/A/c", b"x") is None and addressing.place(b"/services/ab%2fc", b"x") is None
    assert addressing.place(b"/admin/services", b"A.Example.org:443") == Place("a", b"/admin/services")
    assert addressing.place(b"/admin/services", b"a.b.example.org") is None and addressing.place(b"/admin", b"localhost") is None
    assert Addressing(None, False).place(b"/admin", b"a.localhost") is None


_events = st.lists(st.sampled_from([b"data: 1\n\n", b'data: {"a": "b"}\n\n', b": ping\n\n", b"event: x\r\ndata: 2\r\n\r\n"]), max_size=8)


@given(_events, st.lists(st.integers(0, 120), max_size=10), st.sampled_from([b"", b"data: ha", b"data: half\n"]))
def test_only_whole_events_go_out_and_nothing_is_lost(events: list[bytes], cuts: list[int], half: bytes) -> None:
    data, stream, out, at = b"".join(events) + half, EventStream(), b"", 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        out += stream.pass_on(data[at:cut])
        at = cut
        assert out == b"" or out.endswith((b"\n\n", b"\r\n\r\n"))
    assert out + stream.rest() == data


@given(st.lists(st.integers(1, 40), max_size=4))
def test_done_is_seen_however_it_is_cut(cuts: list[int]) -> None:
    data, stream, at = b'data: {"x": 1}\n\ndata: [DONE]\n\n', EventStream(), 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        stream.pass_on(data[at:cut])
        at = cut
    assert stream.is_done


def test_an_event_without_end_is_not_held_for_ever() -> None:
    stream = EventStream()
    assert stream.pass_on(b"data: " + b"x" * 70_000)
