"""Heads that came before: whatever is not exactly one of them with its body goes to the parser, and both ways say the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire.known import PATIENCE, Memory, learn
from tests.support.backend import Backend
from tests.support.data_path import DataPath
from tests.support.raw_requests import CHAT

HEAD = b"POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\nx-more: 1\r\n\r\n"
FIELDS = [(b"host", b"a"), (b"content-length", b"2"), (b"x-more", b"1")]


class _Parsed:
    """What httptools makes of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.body = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.ended = 0
        httptools.HttpRequestParser(self).feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended += 1


@given(st.binary(max_size=300))
def test_a_known_head_with_another_body_is_what_the_parser_makes_of_it(body: bytes) -> None:
    known = learn(HEAD % 2 + b"{}", 2, FIELDS)
    assert known is not None
    data = HEAD % len(body) + body
    parsed = _Parsed(data)
    assert data[known.body_at(data) :] == parsed.body == body and parsed.ended == 1
    assert [field for field in parsed.fields if field[0] != b"content-length"] == [FIELDS[0], FIELDS[2]]


def _other_reads() -> Iterator[bytes]:
    yield HEAD % 2 + b"{}x"  # the beginning of another request
    yield HEAD % 3 + b"{}"
    yield HEAD % 2
    yield (HEAD % 2 + b"{}") * 2
    yield (HEAD % 2).replace(b"x-more: 1", b"x-more: 2") + b"{}"
    yield (HEAD % 2).replace(b"h: 2", b"h: +2") + b"{}"
    yield (HEAD % 2).replace(b"h: 2", b"h: 2 ") + b"{}"
    yield (HEAD % 2).replace(b"h: 2", b"h: ") + b"{}"
    yield (HEAD % 2).replace(b"h: 2", b"h: 000000002") + b"{}"
    yield (HEAD % 2).replace(b"h: 2", b"h: \xb2") + b"{}"


@pytest.mark.parametrize("data", [*_other_reads()])
def test_anything_else_is_for_the_parser(data: bytes) -> None:
    known = learn(HEAD % 2 + b"{}", 2, FIELDS)
    assert known is not None and known.body_at(data) == -1


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"x-more: 1", b"x-more: 1\r\n folded"),
        HEAD.replace(b"\r\nx-more", b"\nx-more"),
        HEAD.replace(b"x-more: 1", b"content-length: 2"),
        HEAD.replace(b"x-more", b"transfer-encoding"),
        HEAD.replace(b"content-length: %d", b"content-length:%d"),
        HEAD.replace(b"1\r\n\r\n", b"1\r\n" + b"a: b\r\n" * 1_000 + b"\r\n"),
    ],
)
def test_what_could_be_read_in_two_ways_is_not_remembered(head: bytes) -> None:
    fields = [line.partition(b": ") for line in (head % 2).split(b"\r\n")[1:-2]] if b"%d" in head else []
    data = (head % 2 if b"%d" in head else head) + b"{}"
    assert learn(data, 2, [(name.lower(), value) for name, _, value in fields][:3]) is None


def test_heads_that_nobody_repeats_are_soon_not_remembered() -> None:
    memory = Memory()
    assert [memory.learn(HEAD % 2 + b"{}", 2, FIELDS) for _ in range(PATIENCE + 1)] == [True] * PATIENCE + [False]
    assert memory.body_at(HEAD % 2 + b"{}") > 0 and memory.learn(HEAD % 2 + b"{}", 2, FIELDS)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, body: bytes) -> tuple[bytes, bytes]:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return answer, await reader.readexactly(length)


async def test_a_kept_connection_is_served_the_same_from_memory(fast_router: DataPath, engine: Backend) -> None:
    await fast_router.service()
    await fast_router.session(engine.address)
    reader, writer = await asyncio.open_connection("127.0.0.1", fast_router.port)
    ids: set[Any] = set()
    for number in range(6):
        answer, _ = await _ask(reader, writer, fast_router.token, b'{"model":"echo","n":%d}' % 10**number)
        assert answer.startswith(b"HTTP/1.1 200")
        ids.add(engine.requests[-1].headers["x-request-id"])
        assert engine.requests[-1].body == b'{"model":"echo","n":%d}' % 10**number
    assert len(ids) == 6 and fast_router.in_flight == 0
    answer, _ = await _ask(reader, writer, fast_router.token, b'{"model":"nobody"}')
    assert answer.startswith(b"HTTP/1.1 404")
    record = next(record for record in fast_router.plane._mirror.tokens.values() if record.role == "user")
    await fast_router.store.tokens.revoke(record.id)
    await fast_router.until(lambda: record.id not in fast_router.plane._mirror.tokens)
    answer, _ = await _ask(reader, writer, fast_router.token, b'{"model":"echo"}')
    assert answer.startswith(b"HTTP/1.1 401")
    writer.close()
