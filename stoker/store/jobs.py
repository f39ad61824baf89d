"""The arrows of a job, one verb each. Accepting is one Lua call; every later write compares status and epoch."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

from stoker.errors import IdempotencyKeyReused, NotFound, QueueFull, Refused, TooMany
from stoker.jobs import CRASH_LIMIT, JobRecord, JobResult, JobStatus, sources
from stoker.records import Reason
from stoker.store.database import Database, decode
from stoker.store.job_keys import JobKeys
from stoker.store.job_log import JobLog
from stoker.store.outbox import Outbox

KEEP_RESULT_SECONDS = 86_400
KEEP_RECORD_SECONDS = 6 * 86_400
"""How much longer than its result a job's record is kept: until then its result is `gone`, later the job is unknown."""

IDEMPOTENCY_SECONDS = 86_400
LEASE_SECONDS = 3.0
SETTLED_SECONDS = 5
"""No lease is called over before the store has been up for so long: its holder could not renew it while it was away."""

_STAMPED = ("status", "created_at", "deadline_at", "place", "epoch", "attempts", "crashes", "gone")
_POISONED = Reason("poisoned", f"it went down with its runner or engine {CRASH_LIMIT} times; `stoker job retry` makes a new one")


class Claim(NamedTuple):
    """A job and the epoch that this claim gave it."""

    job: JobRecord
    epoch: int
    body: bytes


class Due(NamedTuple):
    """Ids of jobs that time has moved on: lease over, deadline over, result over. How many webhooks are to be sent and how many

    jobs were queued again after a pause. `next_in`: seconds until there is something again, None where nothing is known of.
    """

    orphaned: list[str]
    expired: list[str]
    forgotten: list[str]
    webhooks: int = 0
    resumed: int = 0
    next_in: float | None = None


class Jobs:
    """All raise StoreUnavailable; moves raise NotFound or Refused (another status or epoch by now)."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.keys = JobKeys(database.keys)
        self.log = JobLog(database, self.keys)
        self.outbox = Outbox(database, self.keys)

    async def accept(
        self, job: JobRecord, body: bytes, *, deadline_seconds: float, idempotency_key: str | None = None, queued_limit: int = 0,
        bytes_limit: int = 0,
    ) -> JobRecord:  # fmt: skip
        """(new) → queued, durable when this returns. The same key and request again: the job there is.

        Raises IdempotencyKeyReused (the key came with another request), TooMany (`queued_limit` of the token), QueueFull
        (`bytes_limit` of inputs and results in the store).
        """
        request = hashlib.sha256(b"\0".join((job.service.encode(), job.path.encode(), body))).hexdigest()
        k, key = self.keys, hashlib.sha256((idempotency_key or "").encode()).hexdigest()
        keys = [k.record(job.id), k.input(job.id), k.queue(job.service), k.with_work(), k.deadlines()]
        keys += [k.idempotency(job.project, key), k.sequence(), k.of_token(job.token), k.of_project(job.project)]
        keys += [k.all_of_token(job.token), k.bytes_kept()]
        args: list[Any] = [job.id, job.service, job.priority, deadline_seconds, request if idempotency_key else ""]
        args += [IDEMPOTENCY_SECONDS, queued_limit, bytes_limit, body]
        for field in msgspec.structs.fields(job):
            value = getattr(job, field.name)
            if field.name not in _STAMPED and value != field.default:  # what is left out is read as its default: a third of the room
                args += [field.name, msgspec.json.encode(value)]
        word, id = (value.decode() for value in await self._db.script("job_accept", keys, args))
        if word == "reused":
            raise IdempotencyKeyReused(f"this Idempotency-Key came with another request: the job {id}", param="Idempotency-Key")
        if word == "full":
            raise TooMany(f"this token has {queued_limit} unfinished jobs, its limit", retry_after=10)
        if word == "bytes":
            raise QueueFull("the inputs and results of jobs fill the room that they have; try again later", retry_after=30)
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
        return await self._newest(self.keys.of_project(project), limit, before)

    async def by_token(self, token: str, *, limit: int = 100, before: float | None = None) -> list[JobRecord]:
        """The same of one token."""
        return await self._newest(self.keys.all_of_token(token), limit, before)

    async def _newest(self, key: str, limit: int, before: float | None) -> list[JobRecord]:
        high = "+inf" if before is None else f"({before:.6f}"
        ids = await self._db.ask(lambda: self._db.client.zrevrangebyscore(key, high, "-inf", start=0, num=limit))
        return await self._many(ids)

    async def queued(self, service: str, limit: int = 500) -> list[JobRecord]:
        """The first of a service's queue."""
        return await self._many(await self._db.ask(lambda: self._db.client.zrange(self.keys.queue(service), 0, limit - 1)))

    async def running(self, limit: int = 10_000) -> list[JobRecord]:
        """Those that hold a lease, over or not."""
        return await self._many(await self._db.ask(lambda: self._db.client.zrange(self.keys.leases(), 0, limit - 1)))

    async def _many(self, ids: list[bytes]) -> list[JobRecord]:
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
        args.append(k.event_logs())
        answer = await self._db.script("job_claim", keys, args)
        if not answer:
            return None
        id = answer[0].decode()
        return Claim(await self.need(id), int(answer[1]), await self.input(id) or b"")

    async def input(self, id: str) -> bytes | None:
        """The request's body; None when it is not kept any more."""
        body: bytes | None = await self._db.ask(lambda: self._db.client.get(self.keys.input(id)))
        return body

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

    async def hand_back(
        self, job: JobRecord, epoch: int, *, crashed: bool, retries: int | None = None, pause: float = 0.0, overdue: bool = False
    ) -> JobStatus:
        """running → queued, at its old place, after `pause` seconds. `crashed` counts: the third makes it failed, `poisoned`.

        `overdue`: only if its lease is over by now. The status it got.
        """
        fields: dict[str, object] = {} if retries is None else {"retries": retries}
        more: dict[str, object] = {"crashed": crashed, "pause": pause, "overdue": overdue}
        return await self._move(job, JobStatus.QUEUED, epoch=epoch, more=more, fields=fields)

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
        k = self.keys
        keys = [k.leases(), k.deadlines(), k.ended(), k.outbox(), k.pausing(), k.with_work()]
        found = await self._db.script("job_sweep", keys, [portion, k.prefix(), k.queues()])
        orphaned, expired, forgotten = ([id.decode() for id in ids] for ids in found[:3])
        if orphaned and await self._up_since() < SETTLED_SECONDS:
            orphaned = []
        next_in = float(found[5])
        return Due(orphaned, expired, forgotten, int(found[3]), int(found[4]), None if next_in < 0 else next_in)

    async def _up_since(self) -> int:
        """Seconds."""
        return int((await self._db.ask(lambda: self._db.client.info("server"))).get("uptime_in_seconds", SETTLED_SECONDS))

    async def drop_result(self, job: JobRecord) -> None:
        """The time of an ended job's result is over: input, result and events go, the record stays a while."""
        await self._forget(job, KEEP_RECORD_SECONDS)

    async def forget(self, job: JobRecord) -> None:
        """Drop all of an ended job."""
        await self._forget(job, 0)

    async def _forget(self, job: JobRecord, stays: int) -> None:
        k = self.keys
        keys = [k.record(job.id), k.input(job.id), k.result(job.id), k.events(job.id), k.ended(), k.of_project(job.project)]
        await self._db.script("job_forget", [*keys, k.all_of_token(job.token), k.bytes_kept()], [job.id, stays])

    async def _move(
        self, job: JobRecord, to: JobStatus, *, epoch: int | None = None, result: JobResult | None = None,
        more: dict[str, object] | None = None, fields: dict[str, object] | None = None,
    ) -> JobStatus:  # fmt: skip
        k = self.keys
        keys = [k.record(job.id), k.queue(job.service), k.with_work(), k.leases(), k.deadlines(), k.of_token(job.token)]
        keys += [k.ended(), k.events(job.id), k.result(job.id), k.outbox(), k.pausing(), k.bytes_kept()]
        control: dict[str, object] = {"id": job.id, "service": job.service, "to": to, "expect": sources(to), "webhook": bool(job.webhook)}
        control |= {"crash_limit": CRASH_LIMIT, "keep_seconds": KEEP_RESULT_SECONDS, "poisoned": msgspec.json.encode(_POISONED).decode()}
        if epoch is not None:
            control |= {"epoch": epoch, "expect": [JobStatus.RUNNING]}
        elif to is JobStatus.FAILED:
            control["expect"] = [JobStatus.QUEUED]
        control |= more or {}
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
