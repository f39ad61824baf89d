"""One request of a job, through a router: sent at once, its answer collected, its stream told piece by piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from router.jobs.event_stream import EventReader
from router.jobs.verdict import Ended
from router.wire.upstream import Answered, Connection, Pool
from stoker.jobs import JobRecord

RESULT_LIMIT = 32 * 2**20
"""Bytes of an answer that are kept."""

_CHECK_SECONDS = 1.0


class Exchange:
    """A user of one connection. `news` is called with the data of each event of a stream; `end` is awaited."""

    def __init__(self, news: Callable[[list[str]], None]) -> None:
        self._news = news
        self._head: Answered | None = None
        self._body = bytearray()
        self._stream: EventReader | None = None
        self._end: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.connection: Connection | None = None

    async def end(self) -> Ended:
        return await self._end

    def answered(self, head: Answered, body: bytes, ended: bool) -> None:
        """The head, and what of the body came along."""
        self._head = head
        if _header(head, b"content-type").startswith("text/event-stream"):
            self._stream = EventReader()
        self.more(body, ended)

    def more(self, body: bytes, ended: bool) -> None:
        """More of the answer, or its end."""
        if self._end.done():
            return
        self._body += body
        if self._stream is not None and (events := self._stream.feed(body)):
            self._news(events)
        if len(self._body) > RESULT_LIMIT:
            self._finish(Ended(too_large=True))
            if self.connection is not None and not ended:
                self.connection.abandon()
        elif ended:
            self._finish(self._whole())

    def lost(self, why: str) -> None:
        """The connection broke before the end."""
        self._finish(Ended(lost=why))

    def engine_full(self, full: bool) -> None:
        """The request was written at once; there is nothing to hold."""

    def _whole(self) -> Ended:
        assert self._head is not None
        error = _header(self._head, b"x-stoker-error") or (self._stream.broken if self._stream is not None else "")
        kind = _header(self._head, b"content-type") or "application/octet-stream"
        return Ended(status=self._head.status, content_type=kind, body=bytes(self._body), error=error)

    def _finish(self, ended: Ended) -> None:
        if not self._end.done():
            self._end.set_result(ended)


class Sender:
    """Sends requests to the router at `address` (http://HOST:PORT) with the key of runners."""

    def __init__(self, address: str, key: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._key = key.encode()
        self._pool = Pool(self._host, self._port, time.monotonic)
        self._pool.close()  # nothing is kept: that a connection breaks must mean something

    async def send(self, job: JobRecord, epoch: int, body: bytes, news: Callable[[list[str]], None]) -> Ended:
        """One request, to its end; when cancelled, the router and so the engine see the connection close at once."""
        exchange = Exchange(news)
        connection = await self._dial()
        if isinstance(connection, str):
            return Ended(lost=connection, router_lives=False)
        exchange.connection = connection
        connection.send(exchange, self._head(job, epoch, len(body)) + body, whole=True, bodyless=False)
        try:
            ended = await exchange.end()
        except asyncio.CancelledError:
            if not connection.closed:
                connection.abandon()
            raise
        return Ended(lost=ended.lost, router_lives=await self._lives()) if ended.lost else ended

    async def _dial(self) -> Connection | str:
        done: asyncio.Future[Connection | str] = asyncio.get_running_loop().create_future()
        task = self._pool.dial(lambda result: done.set_result(result) if not done.done() else None)
        try:
            return await done
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _lives(self) -> bool:
        """Whether a router listens there still: then what broke was behind it."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                _, writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    def _head(self, job: JobRecord, epoch: int, length: int) -> bytes:
        head = f"POST /services/{job.service}{job.path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\ncontent-type: {job.content_type}\r\n"
        head += f"content-length: {length}\r\naccept-encoding: identity\r\nx-request-id: {job.id}-{epoch}\r\nauthorization: Bearer "
        return head.encode("latin-1") + self._key + b"\r\n\r\n"


def _header(head: Answered, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in head.headers if key == name), "")
