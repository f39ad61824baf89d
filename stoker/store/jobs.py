"""The arrows of a job, one verb each. Accepting is one Lua call; every later write compares status and epoch."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

from stoker.errors import IdempotencyKeyReused, NotFound, Refused, TooMany
from stoker.jobs import CRASH_LIMIT, JobRecord, JobResult, JobStatus, sources
from stoker.records import Reason
from stoker.store.database import Database, decode
from stoker.store.job_keys import JobKeys

KEEP_RESULT_SECONDS = 86_400
IDEMPOTENCY_SECONDS = 86_400
LEASE_SECONDS = 3.0
_STAMPED = ("status", "created_at", "deadline_at", "place", "epoch", "attempts", "crashes")
_POISONED = Reason("poisoned", f"it went down with its runner or engine {CRASH_LIMIT} times; `stoker job retry` makes a new one")


class Claim(NamedTuple):
    """A job and the epoch that this claim gave it."""

    job: JobRecord
    epoch: int
    body: bytes


class Due(NamedTuple):
    """Ids of jobs that time has moved on: lease over, deadline over, result over."""

    orphaned: list[str]
    expired: list[str]
    forgotten: list[str]


class Jobs:
    """All raise StoreUnavailable; moves raise NotFound or Refused (another status or epoch by now)."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.keys = JobKeys(database.keys)

    async def accept(
        self, job: JobRecord, body: bytes, *, deadline_seconds: float, idempotency_key: str | None = None, queued_limit: int = 0
    ) -> JobRecord:
        """(new) → queued, durable when this returns. The same key and request again: the job there is.

        Raises IdempotencyKeyReused (the key came with another request), TooMany (`queued_limit` of the token).
        """
        request = hashlib.sha256(b"\0".join((job.service.encode(), job.path.encode(), body))).hexdigest()
        k, key = self.keys, hashlib.sha256((idempotency_key or "").encode()).hexdigest()
        keys = [k.record(job.id), k.input(job.id), k.queue(job.service), k.with_work(), k.deadlines()]
        keys += [k.idempotency(job.project, key), k.sequence(), k.of_token(job.token), k.of_project(job.project)]
        args: list[Any] = [job.id, job.service, job.priority, deadline_seconds, request if idempotency_key else ""]
        args += [IDEMPOTENCY_SECONDS, queued_limit, body]
        for name in job.__struct_fields__:
            if name not in _STAMPED:
                args += [name, msgspec.json.encode(getattr(job, name))]
        word, id = (value.decode() for value in await self._db.script("job_accept", keys, args))
        if word == "reused":
            raise IdempotencyKeyReused(f"this Idempotency-Key came with another request: the job {id}", param="Idempotency-Key")
        if word == "full":
            raise TooMany(f"this token has {queued_limit} unfinished jobs, its limit", retry_after=10)
        return await self.need(id)

    async def get(self, id: str) -> JobRecord | None:
        return decode(JobRecord, await self._db.ask(lambda: self._db.client.hgetall(self.keys.record(id))))  # type: ignore[arg-type,return-value]

    async def need(self, id: str) -> JobRecord:
        """Raises NotFound."""
        job = await self.get(id)
        if job is None:
            raise NotFound(f"there is no job {id}")
        return job

    async def of_project(self, project: str, *, limit: int = 100, before: float | None = None) -> list[JobRecord]:
        """The project's newest jobs accepted before a time, newest first."""
        high = "+inf" if before is None else f"({before:.6f}"
        ids = await self._db.ask(lambda: self._db.client.zrevrangebyscore(self.keys.of_project(project), high, "-inf", start=0, num=limit))
        pipe = self._db.client.pipeline(transaction=False)
        for id in ids:
            pipe.hgetall(self.keys.record(id.decode()))
        rows = await self._db.ask(pipe.execute) if ids else []
        return [job for job in (decode(JobRecord, row) for row in rows) if job is not None]

    async def waiting(self) -> dict[str, int]:
        """Queued jobs by service, for those that have any."""
        services = sorted(name.decode() for name in await self._db.ask(lambda: self._db.client.smembers(self.keys.with_work())))  # type: ignore[arg-type,return-value]
        pipe = self._db.client.pipeline(transaction=False)
        for name in services:
            pipe.zcard(self.keys.queue(name))
        counts = await self._db.ask(pipe.execute) if services else []
        return {name: int(count) for name, count in zip(services, counts, strict=True) if count}

    async def position(self, job: JobRecord) -> int | None:
        """How many are before it in its service's queue; None when it does not wait."""
        rank = await self._db.ask(lambda: self._db.client.zrank(self.keys.queue(job.service), job.id))
        return None if rank is None else int(rank)

    async def claim(self, service: str, runner: str) -> Claim | None:
        """queued → running: the next one of this service, leased for LEASE_SECONDS; None when nothing waits."""
        k = self.keys
        keys, args = [k.queue(service), k.with_work(), k.leases(), k.deadlines()], [service, runner, int(LEASE_SECONDS * 1000), k.prefix()]
        answer = await self._db.script("job_claim", keys, args)
        if not answer:
            return None
        id = answer[0].decode()
        body = await self._db.ask(lambda: self._db.client.get(k.input(id)))
        return Claim(await self.need(id), int(answer[1]), body or b"")

    async def renew(self, held: dict[str, int]) -> list[str]:
        """Renew the leases of `held` (id to epoch); the ids that are not the runner's any more: it must drop them."""
        args: list[Any] = [int(LEASE_SECONDS * 1000), self.keys.prefix()]
        for id, epoch in held.items():
            args += [id, epoch]
        return [id.decode() for id in await self._db.script("job_renew", [self.keys.leases()], args)]

    async def succeed(self, job: JobRecord, epoch: int, result: JobResult) -> None:
        """running → succeeded with its one result."""
        await self._move(job, JobStatus.SUCCEEDED, epoch=epoch, result=result)

    async def fail(self, job: JobRecord, epoch: int | None, reason: Reason, result: JobResult | None = None) -> None:
        """→ failed, by the runner that holds `epoch`; without one a queued job, because its service is gone."""
        await self._move(job, JobStatus.FAILED, epoch=epoch, result=result, fields={"reason": reason})

    async def hand_back(self, job: JobRecord, epoch: int, *, crashed: bool, retries: int | None = None) -> JobStatus:
        """running → queued, at its old place. `crashed` counts: the third makes it failed, `poisoned`. The status it got."""
        fields: dict[str, object] = {} if retries is None else {"retries": retries}
        return await self._move(job, JobStatus.QUEUED, epoch=epoch, crashed=crashed, fields=fields)

    async def cancel(self, job: JobRecord) -> None:
        """→ cancelled; a runner that holds it learns so when it renews."""
        await self._move(job, JobStatus.CANCELLED, fields={"reason": Reason("stopped_by_user", "cancelled")})

    async def expire(self, job: JobRecord) -> None:
        await self._move(job, JobStatus.EXPIRED, fields={"reason": Reason("deadline", "its deadline passed")})

    async def result(self, id: str) -> JobResult | None:
        """What the engine answered; None before the end, and when it is over."""
        raw = await self._db.ask(lambda: self._db.client.get(self.keys.result(id)))
        if raw is None:
            return None
        status, content_type = msgspec.json.decode(raw[: raw.index(b"\n")], type=tuple[int, str])
        return JobResult(status=status, content_type=content_type, body=raw[raw.index(b"\n") + 1 :])

    async def due(self, portion: int = 500) -> Due:
        """What time has done, at most `portion` of each; the sweeper moves them with the verbs above."""
        found = await self._db.script("job_sweep", [self.keys.leases(), self.keys.deadlines(), self.keys.ended()], [portion])
        return Due(*([id.decode() for id in ids] for ids in found))

    async def forget(self, job: JobRecord) -> None:
        """Drop an ended job whose time is over: record, input, result, events."""
        k, pipe = self.keys, self._db.client.pipeline(transaction=True)
        pipe.delete(k.record(job.id), k.input(job.id), k.result(job.id), k.events(job.id))
        pipe.zrem(k.ended(), job.id)
        pipe.zrem(k.of_project(job.project), job.id)
        await self._db.ask(pipe.execute)

    async def _move(
        self, job: JobRecord, to: JobStatus, *, epoch: int | None = None, crashed: bool = False, result: JobResult | None = None,
        fields: dict[str, object] | None = None,
    ) -> JobStatus:  # fmt: skip
        k = self.keys
        keys = [k.record(job.id), k.queue(job.service), k.with_work(), k.leases(), k.deadlines(), k.of_token(job.token)]
        keys += [k.ended(), k.events(job.id), k.result(job.id), k.outbox()]
        control: dict[str, object] = {"id": job.id, "service": job.service, "to": to, "expect": sources(to), "crashed": crashed}
        control |= {"crash_limit": CRASH_LIMIT, "keep_seconds": KEEP_RESULT_SECONDS, "poisoned": msgspec.json.encode(_POISONED).decode()}
        if epoch is not None:
            control |= {"epoch": epoch, "expect": [JobStatus.RUNNING]}
        if job.webhook:
            control["webhook"] = True
        kept = msgspec.json.encode((result.status, result.content_type)) + b"\n" + result.body if result else b""
        args: list[Any] = [msgspec.json.encode(control), kept]
        for name, value in (fields or {}).items():
            args += [name, msgspec.json.encode(value)]
        word, status = (value.decode() for value in await self._db.script("job_move", keys, args))
        if word == "absent":
            raise NotFound(f"there is no job {job.id}")
        if word == "refused":
            raise Refused(f"job {job.id} is {status} or was claimed anew")
        return JobStatus(status)
