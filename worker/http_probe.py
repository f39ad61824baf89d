"""One HTTP request to an engine, for its status: small enough to be sent fifty times a second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

_HEAD_LIMIT = 64 * 1024
_SHOWN = 500


class Answer(msgspec.Struct, frozen=True):
    """`text` is the beginning of the body, for messages; empty unless asked for."""

    status: int
    text: str = ""


class NoHttp(Exception):
    """What answered was no HTTP."""


async def ask(
    host: str,
    port: int,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    read_body: bool = False,
) -> Answer:
    """Raises OSError or EOFError when the connection fails, NoHttp for nonsense; the caller sets the time limit."""
    reader, writer = await asyncio.open_connection(host, port, limit=_HEAD_LIMIT)
    try:
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}:{port}", "connection: close", "accept: */*", "user-agent: stoker-worker"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"content-length: {len(body)}"] if body else []
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        try:
            head = await reader.readuntil(b"\r\n")
        except asyncio.LimitOverrunError as error:
            raise NoHttp("the first line of the answer does not end") from error
        words = head.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise NoHttp(f"it answered {head[:40]!r}, which is no HTTP")
        return Answer(int(words[1]), await _body(reader) if read_body else "")
    finally:
        writer.close()


async def _body(reader: asyncio.StreamReader) -> str:
    """The beginning of the body, and the rest read and dropped: an engine may take a client that leaves early amiss."""
    kept = b""
    while part := await reader.read(_HEAD_LIMIT):
        kept = (kept + part)[: _HEAD_LIMIT + _SHOWN]
    _, _, text = kept.partition(b"\r\n\r\n")
    return text[:_SHOWN].decode(errors="replace").strip()
