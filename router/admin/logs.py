"""Logs of a service: the lines of its sessions, fetched from the workers that have them and merged by time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, aclosing

from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from router.admin.call import Call
from router.admin.worker_logs import Wish, WorkerLogs
from stoker.errors import NotFound
from stoker.records import SessionRecord
from stoker.states import TERMINAL

SESSIONS_LIMIT = 64
"""Sessions whose logs are read for one call."""

_LINES_LIMIT = 100_000
_QUEUE = 1_000
_LOOK_SECONDS = 0.5


async def service(call: Call) -> Response:
    """Lines `SESSION TIME TEXT`. `?tail=N` lines at most, `?since=SECONDS`, `?follow=true`, `?session=ID`, `?previous=true`."""
    record, wish, follow = call.service(), _wish(call), call.flag("follow")
    only = _named(call, record.name)
    chosen = choose(_sessions(call, record.name), only=only, previous=call.flag("previous"))
    logs = WorkerLogs(call.context.http, call.context.mirror.nodes, call.context.cluster_key)
    if not follow:
        return _Lines(merged(logs, chosen, wish))
    return _Lines(followed(logs, call, record.name, chosen, wish, only))


async def session(call: Call) -> Response:
    """The same for one session."""
    record, wish = call.session(call.part("id")), _wish(call)
    logs = WorkerLogs(call.context.http, call.context.mirror.nodes, call.context.cluster_key)
    if not call.flag("follow"):
        return _Lines(merged(logs, [record], wish))
    return _Lines(followed(logs, call, record.service, [record], wish, record.id))


def choose(sessions: Iterable[SessionRecord], *, only: str | None, previous: bool) -> list[SessionRecord]:
    """The sessions to read, oldest first.

    1. Named: that one.
    2. `previous`: the last one that is over.
    3. Those that live.
    4. None lives: the last one that is over, since it tells why.
    """
    placed = sorted((s for s in sessions if s.node is not None), key=lambda s: (s.created_at, s.id))
    over = [s for s in placed if s.status in TERMINAL]
    if only is not None:  # (1)
        return [s for s in placed if s.id == only]
    if previous:  # (2)
        return over[-1:]
    return [s for s in placed if s.status not in TERMINAL][-SESSIONS_LIMIT:] or over[-1:]  # (3), (4)


async def merged(logs: WorkerLogs, sessions: list[SessionRecord], wish: Wish) -> AsyncGenerator[str, None]:
    """All lines in the order of their times; the last `tail` of all, where that is given."""
    async with aclosing(_in_order([logs.lines(session, wish) for session in sessions])) as lines:
        if wish.tail is None:
            async for line in lines:
                yield line
            return
        kept: deque[str] = deque(maxlen=wish.tail)
        async for line in lines:
            kept.append(line)
    for line in kept:
        yield line


async def followed(
    logs: WorkerLogs, call: Call, name: str, first: list[SessionRecord], wish: Wish, only: str | None
) -> AsyncGenerator[str, None]:
    """Lines as they come, of these sessions and of those that are placed later, until the client leaves or this router ends.

    With `only`, until that session is over. A slow reader slows the workers down: QUEUE lines wait here.
    """
    queue: asyncio.Queue[str | None] = asyncio.Queue(_QUEUE)
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(_watch(logs, call, name, first, wish, only, queue))
        try:
            while (line := await queue.get()) is not None:
                yield line
        except GeneratorExit:
            return  # the client left; a task group would make an error of it
        finally:
            watcher.cancel()


async def _watch(
    logs: WorkerLogs, call: Call, name: str, first: list[SessionRecord], wish: Wish, only: str | None, queue: asyncio.Queue[str | None]
) -> None:
    """One reader per session; what comes after the first look is read from its beginning."""
    known = {s.id for s in _sessions(call, name) if s.node is not None} | {s.id for s in first}
    waiting = first[:SESSIONS_LIMIT]
    async with asyncio.TaskGroup() as group:
        readers: list[asyncio.Task[None]] = []
        while not call.context.life.draining:
            known |= {session.id for session in waiting}
            readers = [reader for reader in readers if not reader.done()]
            readers += [group.create_task(_read(logs, session, wish, queue)) for session in waiting]
            if only is not None and not readers:
                break
            wish = Wish(tail=None, since=None)
            await asyncio.sleep(_LOOK_SECONDS)
            fresh = [s for s in _sessions(call, name) if s.node is not None and s.id not in known and only is None]
            waiting = fresh[: SESSIONS_LIMIT - len(readers)]
        for reader in readers:
            reader.cancel()
    await queue.put(None)


async def _read(logs: WorkerLogs, session: SessionRecord, wish: Wish, queue: asyncio.Queue[str | None]) -> None:
    async with aclosing(logs.lines(session, wish, follow=True)) as lines:
        async for line in lines:
            await queue.put(line)


async def _in_order(streams: list[AsyncGenerator[str, None]]) -> AsyncGenerator[str, None]:
    """Each stream is in order already; the earliest head goes out first. At most _LINES_LIMIT lines."""
    async with AsyncExitStack() as opened:
        for stream in streams:
            await opened.enter_async_context(aclosing(stream))
        heads = [(line, stream) for stream in streams if (line := await anext(stream, None)) is not None]
        for _ in range(_LINES_LIMIT):
            if not heads:
                return
            head = min(heads, key=lambda entry: _time(entry[0]))
            heads.remove(head)
            yield head[0]
            following = await anext(head[1], None)
            if following is not None:
                heads.append((following, head[1]))


def _time(line: str) -> str:
    """RFC 3339 in UTC sorts as text."""
    return line.split(" ", 2)[1] if line.count(" ") else ""


def _sessions(call: Call, name: str) -> list[SessionRecord]:
    return [s for s in call.context.mirror.sessions.values() if s.service == name and call.sees(s.project, s.service)]


def _named(call: Call, service: str) -> str | None:
    """The id of the session that `?session=` means. Raises NotFound."""
    word = call.text("session")
    if not word:
        return None
    found = call.session(word)
    if found.service != service:
        raise NotFound(f"the session {found.id} is not one of {service}")
    return found.id


def _wish(call: Call) -> Wish:
    tail, since = call.number("tail", 0, _LINES_LIMIT), call.number("since", 0, 1e11)
    return Wish(tail=None if tail is None else int(tail), since=since)


class _Lines(StreamingResponse):
    """Lines as they come; what makes them is closed with the request, not whenever it is collected."""

    def __init__(self, lines: AsyncGenerator[str, None]) -> None:
        super().__init__(lines, media_type="text/plain", headers={"cache-control": "no-store"})
        self._lines = lines

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._lines):
            self.body_iterator = (line.encode("utf-8", "replace") + b"\n" async for line in self._lines)
            await super().stream_response(send)
