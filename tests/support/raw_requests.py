"""Raw requests for tests of the data path."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.support.data_path import DataPath

CHAT = "/v1/chat/completions"


def body(model: str = "echo", **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {"messages": [{"role": "user", "content": "hello"}], "model": model, **more}


def post(router: DataPath, sent: Any, more: str = "") -> bytes:
    """Its bytes on the wire."""
    data = json.dumps(sent).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {router.token}\r\ncontent-type: application/json\r\n{more}"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(data) + data


async def raw(router: DataPath, data: bytes, until: bytes = b"HTTP/1.1 4") -> bytes:
    """What comes back until the router closes, or has said `until`. Raises TimeoutError where it leaves the connection open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(data)
    found = b""
    try:
        async with asyncio.timeout(5):
            while until not in found and (piece := await reader.read(65536)):
                found += piece
    finally:
        writer.close()
    return found
