"""The log lines that one worker keeps of one session, over the worker's own HTTP."""

from __future__ import annotations

import datetime
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

import httpx2

from stoker.keyring import worker_key
from stoker.records import NodeRecord, SessionRecord

_CONNECT_SECONDS, _QUIET_SECONDS = 3.0, 20.0


class Wish(NamedTuple):
    """The last `tail` lines (None: all that are kept), none before `since` (seconds since the epoch)."""

    tail: int | None
    since: float | None


class WorkerLogs:
    """`nodes` is the mirror's. What cannot be had becomes one line that says so."""

    def __init__(self, http: httpx2.AsyncClient, nodes: Mapping[str, NodeRecord], cluster_key: bytes) -> None:
        self._http = http
        self._nodes = nodes
        self._key = cluster_key

    async def lines(self, session: SessionRecord, wish: Wish, *, follow: bool = False) -> AsyncGenerator[str, None]:
        """`SESSION TIME TEXT`, oldest first; with `follow` until the session ends."""
        node = self._nodes.get(session.node or "")
        if node is None:
            yield _apology(session.id, f"the node {session.node} is not there any more, and its logs with it")
            return
        if not node.worker_url:
            yield _apology(session.id, f"the worker of {node.name} says no address for its logs")
            return
        given = {"tail": wish.tail, "since": wish.since, "follow": 1 if follow else None}
        query = {name: str(value) for name, value in given.items() if value is not None}
        headers = {"authorization": f"Bearer {worker_key(self._key, node.name)}"}
        quiet = httpx2.Timeout(None if follow else _QUIET_SECONDS, connect=_CONNECT_SECONDS, pool=_CONNECT_SECONDS)
        url = f"{node.worker_url.rstrip('/')}/logs/{session.id}"
        try:
            async with self._http.stream("GET", url, params=query, headers=headers, timeout=quiet) as answer:
                if answer.status_code == 200:
                    async for line in answer.aiter_lines():
                        yield f"{session.id} {line}"
                    return
                status = answer.status_code
        except httpx2.HTTPError as error:
            yield _apology(session.id, f"the worker of {node.name} does not answer ({type(error).__name__})")
            return
        yield _apology(session.id, why_not(status, node.name))


def why_not(status: int, node: str) -> str:
    """What a worker's status means for who asked it for logs."""
    if status == 404:
        return f"the worker of {node} has no logs of it (any more)"
    if status in (401, 403):
        return f"the worker of {node} does not know this router's key; both need the same STOKER_SECRET_KEY_FILE"
    return f"the worker of {node} answered {status}"


def _apology(session: str, sentence: str) -> str:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{session} {now} [stoker] {sentence}"
