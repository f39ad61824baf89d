"""The event log of a job: what `GET /v1/jobs/{id}/events` replays, on any router."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stoker.jobs import JobEvent, JobRecord
from stoker.store.database import Database
from stoker.store.job_keys import JobKeys

MOST_EVENTS = 20_000
"""Kept per job, roughly; of a longer stream the oldest chunks go, its result stays whole."""


class JobLog:
    """Numbers count from 1 without a gap. All raise StoreUnavailable."""

    def __init__(self, database: Database, keys: JobKeys) -> None:
        self._db = database
        self._keys = keys

    async def append(self, job: JobRecord, epoch: int, chunks: Sequence[str]) -> bool:
        """Chunks of a stream, in order; False when the claim is not this one any more."""
        keys = [self._keys.record(job.id), self._keys.events(job.id)]
        return bool(await self._db.script("job_append", keys, [epoch, MOST_EVENTS, *chunks]))

    async def after(self, job: JobRecord, number: int, limit: int = 200) -> list[JobEvent]:
        """What came behind event `number` (0: from the start, which is that it was queued)."""
        rows = await self._db.ask(lambda: self._db.client.xrange(self._keys.events(job.id), f"{number + 1}-0", "+", count=limit))
        queued = {"status": "queued", "attempt": 0, "time": job.created_at}
        first = [JobEvent(1, "status", msgspec.json.encode(queued).decode())] if number < 1 else []
        return first + [JobEvent(int(at.partition(b"-")[0]), fields[b"event"].decode(), fields[b"data"].decode()) for at, fields in rows]
