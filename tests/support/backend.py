"""An engine for tests of the router: a raw server that writes down what it gets and answers, or misbehaves, as it is told.

The script of an answer is a function of (Seen, writer); what it does not write is not sent. Everything that arrived is kept as it
was, so that a test sees what an engine would see.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

JSON_ANSWER = b'{"id": "x", "object": "chat.completion", "choices": []}'


@dataclass
class Seen:
    """One request: `head` is its bytes up to the blank line, `headers` with names in lower case."""

    head: bytes
    body: bytes
    connection: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()


Script = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


async def answer_json(seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(plain(200, JSON_ANSWER))


def plain(status: int, body: bytes, *more: bytes) -> bytes:
    """An answer with a length."""
    lines = [b"HTTP/1.1 %d X" % status, b"content-type: application/json", b"content-length: %d" % len(body), *more]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Backend:
    """`requests` in order of arrival; `connections` counts those ever made; `closed` gets a number for each that ended."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.connections = 0
        self.open = 0
        self.aborted = asyncio.Event()
        self.arrived = asyncio.Event()
        self.script: Script = answer_json
        self.address = ""
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        self._writers.add(writer)
        try:
            while (seen := await self._read(reader, number)) is not None:
                self.requests.append(seen)
                self.arrived.set()
                await self._answer(seen, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.aborted.set()
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run the script, and notice when the router closes the connection meanwhile."""
        script = asyncio.ensure_future(self.script(seen, writer))
        end = asyncio.ensure_future(_ended(reader))
        await asyncio.wait({script, end}, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        if not script.done():
            script.cancel()
            self.aborted.set()
            raise ConnectionResetError
        await script
        await writer.drain()

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Seen | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return None
        lines = [line.decode("latin-1").split(": ", 1) for line in head.split(b"\r\n")[1:-2]]
        headers = {name.lower(): value for name, value in lines}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int((await reader.readline()).strip(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Seen(head, body, number, headers)

    def kill(self) -> None:
        """All connections end at once, without a word."""
        for writer in [*self._writers]:
            writer.transport.abort()


async def _ended(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof() and reader.exception() is None:
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def backend(script: Script = answer_json) -> AsyncIterator[Backend]:
    """A backend on a free port, at `address`."""
    made = Backend()
    made.script = script
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        made.kill()
