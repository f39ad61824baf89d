"""Log lines are whole, bounded and hold no secrets; health and metrics are served to whoever asks politely."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from stoker.errors import ConfigurationError
from stoker.telemetry import FIELD_LIMIT, LineFormatter, clean, configure_logging, mask, serve_health

SECRETS = [
    ("Authorization: Bearer abc.def-123", "abc.def-123"),
    ("the token sk-admin-0123abc was used", "admin-0123abc"),
    ('{"x-api-key": "plainkey1"}', "plainkey1"),
    ("HF_TOKEN=hf_AbC123", "AbC123"),
    ("signing with whsec_c2VjcmV0", "c2VjcmV0"),
    ("redis://user:pa55word@host:6379/0", "pa55word"),
    ("unix://:pa55word@/run/redis.sock", "pa55word"),
]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_secrets_are_masked_wherever_they_stand(text: str, secret: str, stream: io.StringIO) -> None:
    assert secret not in mask(text) and "…" in mask(text)
    for form in ("text", "json"):
        configure_logging("router", form, stream=stream)
        log = logging.getLogger("stoker.test")
        log.info("a line: %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            log.exception("it failed")
    assert secret not in stream.getvalue() and len(stream.getvalue().splitlines()) == 4


def test_what_is_no_secret_stays() -> None:
    for text in ("task-123 risk-free", "http://host:8080/path", "redis://host:6379/0", "GPU 0: 40 GiB", "127.0.0.1:80"):
        assert mask(text) == text


@given(st.text(), st.booleans())
def test_a_record_is_one_line_of_printable_text(text: str, as_json: bool) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s", (text,), None)
    line = LineFormatter("router", as_json).format(record)
    assert len(line.splitlines()) <= 1 and all(ord(sign) >= 32 and ord(sign) != 127 for sign in line)
    if as_json:
        assert json.loads(line)["process"] == "router"


@given(st.integers(0, 4), st.text(min_size=1, max_size=5))
def test_a_field_is_bounded(times: int, piece: str) -> None:
    text = clean("x" * (times * FIELD_LIMIT) + piece)
    assert len(text) <= FIELD_LIMIT + 60


def test_a_secret_is_masked_where_the_line_is_cut() -> None:
    for before in range(FIELD_LIMIT - 40, FIELD_LIMIT + 5):
        assert "0123456789" not in clean("x" * before + " sk-0123456789abcdef")
        assert "0123456789" not in clean("x" * before + " redis://u:0123456789abcdef@h")


@pytest.fixture
async def health() -> AsyncIterator[tuple[int, list[bool]]]:
    registry, ready = CollectorRegistry(), [True]
    Counter("stoker_rings", "Rings.", registry=registry).inc(3)
    server = await serve_health("127.0.0.1:0", registry, lambda: ready[0])
    yield server.sockets[0].getsockname()[1], ready
    server.close()
    await server.wait_closed()


async def ask(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_health_readiness_and_metrics(health: tuple[int, list[bool]]) -> None:
    port, ready = health
    assert (await ask(port, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"stoker_rings_total 3.0" in await ask(port, b"GET /metrics?x=1 HTTP/1.1\r\n\r\n")
    assert (await ask(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")
    assert (await ask(port, b"GET /readyz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    ready[0] = False
    assert (await ask(port, b"GET /readyz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
    assert (await ask(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    assert (await ask(port, b"POST /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")


async def test_who_speaks_no_http_or_too_much_is_cut_off(health: tuple[int, list[bool]]) -> None:
    port, _ = health
    assert await ask(port, b"\r\n\r\n") == b""
    assert await ask(port, b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 5000) in (b"",)
    assert (await ask(port, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_bad_or_taken_address_is_a_sentence(health: tuple[int, list[bool]]) -> None:
    for bind in ("9100", "localhost:", "localhost:99999", "x:y"):
        with pytest.raises(ConfigurationError, match="must be HOST:PORT"):
            await serve_health(bind, CollectorRegistry())
    with pytest.raises(ConfigurationError, match="cannot listen"):
        await serve_health(f"127.0.0.1:{health[0]}", CollectorRegistry())
