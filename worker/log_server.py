"""The worker's own small HTTP, for routers that know this node's key: `GET /logs/SESSION?tail=N&since=SECONDS&follow=1`, and
`GET /facts?model=REFERENCE`, what this node knows of a model, whether or not a service names it.

Nothing but the standard library, since a worker should stay small. Requests are bounded in size, number and time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from stoker.errors import ConfigurationError
from worker import logs
from worker.asked_facts import AskedFacts, may_ask

log = logging.getLogger(__name__)

CONNECTIONS = 64
_HEAD_LIMIT, _HEAD_SECONDS, _WRITE_SECONDS = 16 * 1024, 10.0, 30.0
_PATH = re.compile(r"/logs/([a-z0-9][-a-z0-9]{0,127})")
_DEFAULT_TAIL = 1000
_TEXT = "text/plain; charset=utf-8"
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Wanted(msgspec.Struct, frozen=True):
    """What a request asks for."""

    session: str
    tail: int
    since: float | None
    follow: bool


class Refusal(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class LogServer:
    """`folder` gives a session's directory, `lives` whether more may be written there."""

    def __init__(self, key: str, folder: Callable[[str], Path], lives: Callable[[str], bool], facts: AskedFacts) -> None:
        self._key, self._folder, self._lives, self._facts = key, folder, lives, facts
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str) -> int:
        """Listen on a free port of that address; the port. Raises ConfigurationError."""
        try:
            self._server = await asyncio.start_server(self._connected, host, 0, limit=_HEAD_LIMIT)
        except OSError as error:
            raise ConfigurationError(
                f"the worker cannot listen on {host}: {error.strerror or error}; set STOKER_NODE_ADDRESS to an address of this machine"
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and cut those who follow."""
        if self._server is not None:
            self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        if self._open:
            await asyncio.wait(list(self._open))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            await self._answer(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError):
            log.debug("a log reader left, stalled or spoke no HTTP")
        finally:
            self._open.pop(task, None)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._open) > CONNECTIONS:
                raise Refusal(503, "too many log readers; try again later")
            async with asyncio.timeout(_HEAD_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            wanted = self._read(head)
            if isinstance(wanted, str):
                await _whole(writer, 200, msgspec.json.encode(await self._known(wanted)), "application/json")
                return
        except Refusal as refusal:
            await _whole(writer, refusal.status, f"{refusal}\n".encode())
            return
        writer.write(_head(200, "transfer-encoding: chunked"))
        gone, sent = asyncio.create_task(_left(reader)), asyncio.create_task(self._send(wanted, writer))
        try:
            await asyncio.wait((gone, sent), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sent.cancel()
            await asyncio.gather(gone, sent, return_exceptions=True)

    async def _known(self, model: str) -> dict[str, object]:
        """Raises Refusal."""
        facts = await self._facts.of(model)
        if facts is None:
            raise Refusal(503, "the model is still being read; ask again")
        return facts

    async def _send(self, wanted: Wanted, writer: asyncio.StreamWriter) -> None:
        folder = self._folder(wanted.session)
        lines, position = await asyncio.to_thread(logs.tail, folder, wanted.tail, wanted.since)
        await _chunk(writer, b"".join(lines))
        if wanted.follow:
            async with contextlib.aclosing(logs.follow(folder, position, lambda: not self._lives(wanted.session))) as pieces:
                async for piece in pieces:
                    await _chunk(writer, piece)
        writer.write(b"0\r\n\r\n")
        await _drain(writer)

    def _read(self, head: str) -> Wanted | str:
        """The lines or the model that are asked for. Raises Refusal."""
        line, *fields = head.split("\r\n")
        method, _, rest = line.partition(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        given = headers.get("authorization", "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(given, self._key.encode()):
            raise Refusal(401, "the worker's key is needed")
        if method != "GET":
            raise Refusal(405, "only GET is answered here")
        target = urlsplit(rest.partition(" ")[0])
        words = {name: values[-1] for name, values in parse_qs(target.query).items()}
        if target.path == "/facts":
            if not may_ask(words.get("model", "")):
                raise Refusal(400, "model is a name in the model store or an absolute path")
            return words["model"]
        match = _PATH.fullmatch(target.path)
        if not match or not self._folder(match[1]).is_dir():
            raise Refusal(404, "no such session has a log here")
        try:
            since = float(words["since"]) if "since" in words else None
            tail = int(words.get("tail", logs.MOST_LINES if since is not None else _DEFAULT_TAIL))
        except ValueError:
            raise Refusal(400, "tail is a number of lines, since is seconds since the epoch") from None
        return Wanted(match[1], tail, since, words.get("follow") in ("1", "true"))


async def _whole(writer: asyncio.StreamWriter, status: int, body: bytes, kind: str = _TEXT) -> None:
    writer.write(_head(status, f"content-length: {len(body)}", kind) + body)
    await _drain(writer)


def _head(status: int, length: str, kind: str = _TEXT) -> bytes:
    lines = (f"HTTP/1.1 {status} {_REASONS[status]}", f"content-type: {kind}", length, "connection: close", "", "")
    return "\r\n".join(lines).encode("latin-1")


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    if data:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await _drain(writer)


async def _drain(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(_WRITE_SECONDS):
        await writer.drain()


async def _left(reader: asyncio.StreamReader) -> None:
    """Until the client closes; whatever it still sends is dropped."""
    while await reader.read(1024):
        continue
