"""One command to a Redis socket without a client: for a server that starts, loads or is a stranger's."""

from __future__ import annotations

import asyncio
from pathlib import Path


async def say(socket: Path, command: str, timeout: float = 1.0) -> bytes:
    """The first line of the answer (`+PONG`, `-LOADING …`), b"" where nobody answers within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(command.encode() + b"\r\n")
                return (await reader.readline()).strip()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
