"""A few lines of HTTP to our own router: `up` stays small, a client library would double its memory."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

LARGEST = 64 * 2**20
"""Bytes of an answer; a listing of 20,000 sessions is a tenth of it."""


class Answer(NamedTuple):
    """`status` 0: nobody answered. `body` is the JSON, None where there is none."""

    status: int
    body: Any = None


class Caller:
    """Asks the router at host:port with a bearer token, one connection per call."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host, self._port, self._token = host, port, token

    async def ask(self, method: str, path: str, body: object = None, *, token: str | None = None, timeout: float = 5.0) -> Answer:
        """One call; whatever goes wrong below HTTP is status 0."""
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(method, path, b"" if body is None else json.dumps(body).encode(), token or self._token)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return Answer(0)

    async def items(self, path: str) -> list[dict[str, Any]] | None:
        """All pages of a listing, None where the router did not give them."""
        found: list[dict[str, Any]] = []
        cursor, mark = "", "&" if "?" in path else "?"
        while True:
            answer = await self.ask("GET", f"{path}{mark}cursor={cursor}" if cursor else path)
            if answer.status != 200:
                return None
            found += answer.body["items"]
            cursor = answer.body.get("next") or ""
            if not cursor:
                return found

    async def _exchange(self, method: str, path: str, body: bytes, token: str) -> Answer:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode("latin-1") + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            text = await _body(reader, headers)
            return Answer(int(lines[0].split(" ")[1]), json.loads(text) if text.strip() else None)
        finally:
            writer.close()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = headers.get("content-length")
        return await reader.readexactly(min(int(length), LARGEST)) if length else await reader.read(LARGEST)
    parts: list[bytes] = []
    while (size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)) and sum(map(len, parts)) < LARGEST:
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    return b"".join(parts)
