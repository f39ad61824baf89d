"""What is counted and measured for /metrics: kept in the store, so that the sum over all processes outlives each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from stoker.jobs import JobRecord
from stoker.store.database import Database, decode
from stoker.store.job_keys import JobKeys

REMEMBER_SECONDS = 7 * 86_400
"""How long a silent process, or a session's engine, is known: within it nothing that it says again is counted twice."""

UTILIZATION_SECONDS = 60.0
"""After so long a worker's word about its GPUs is old."""

QUEUES = 200
"""Queues whose first job is looked at for its age."""

_Utilization = tuple[float, dict[str, float]]


class JobFigures(NamedTuple):
    """Queued jobs with those that pause, running ones, and the age in seconds of the oldest at the head of a queue."""

    queued: int
    running: int
    oldest: float


class Figures:
    """All raise StoreUnavailable."""

    def __init__(self, database: Database, jobs: JobKeys) -> None:
        self._db = database
        self._jobs = jobs

    async def add(self, process: str, number: int, counts: Mapping[str, Mapping[str, int]]) -> bool:
        """Add a portion of counts (service, "" for none, to field to amount), in one call; False if `number` was added before.

        Numbers of one process rise by one portion after the other. Counts of services that are gone are dropped.
        """
        k, keys, args = self._db.keys, [self._db.keys.counted(process)], list[Any]([number, REMEMBER_SECONDS])
        for service, fields in counts.items():
            keys += [k.record("service", service) if service else k.counters(), k.counters(service)]
            args.append(len(fields))
            for name, amount in fields.items():
                args += [name, amount]
        return bool(await self._db.script("count", keys, args))

    async def reach(self, service: str, session: str, counts: Mapping[str, int]) -> None:
        """An engine's own counters stand at so much: what is new since it was last told is added."""
        k = self._db.keys
        args: list[Any] = [REMEMBER_SECONDS]
        for name, count in counts.items():
            args += [name, count]
        await self._db.script("reach", [k.record("service", service), k.counters(service), k.engine_counts(session)], args)

    async def read(self, services: Iterable[str]) -> dict[str, dict[str, int]]:
        """The counters of these services, and those of none in particular under ""."""
        names = ["", *services]
        pipe = self._db.client.pipeline(transaction=True)  # one moment: a sum never runs ahead of its parts
        for name in names:
            pipe.hgetall(self._db.keys.counters(name))
        rows = await self._db.ask(pipe.execute)
        return {name: {key.decode(): int(count) for key, count in row.items()} for name, row in zip(names, rows, strict=True)}

    async def set_utilization(self, node: str, shares: Mapping[str, float]) -> None:
        """Busy shares, 0 to 1, of a node's devices now. Tells no feed."""
        value = msgspec.json.encode((await self._db.time(), shares))
        await self._db.ask(lambda: self._db.client.hset(self._db.keys.gpu_utilization(), node, value))  # type: ignore[arg-type,return-value]

    async def utilization(self, now: float) -> dict[str, dict[str, float]]:
        """Node to device to busy share, of nodes that told it lately; the others' words are dropped."""
        key = self._db.keys.gpu_utilization()
        rows = await self._db.ask(lambda: self._db.client.hgetall(key))  # type: ignore[arg-type,return-value]
        told = {node: msgspec.json.decode(value, type=_Utilization) for node, value in rows.items()}
        old = [node for node, (at, _) in told.items() if now - at > UTILIZATION_SECONDS]
        if old:
            await self._db.ask(lambda: self._db.client.hdel(key, *old))  # type: ignore[arg-type,return-value]
        return {node.decode(): shares for node, (_, shares) in told.items() if node not in old}

    async def jobs(self, now: float) -> JobFigures:
        """What the sets of jobs tell, without reading the jobs but the first of each queue."""
        k, client = self._jobs, self._db.client
        services = sorted(name.decode() for name in await self._db.ask(lambda: client.smembers(k.with_work())))[:QUEUES]  # type: ignore[arg-type,return-value]
        pipe = client.pipeline(transaction=False)
        pipe.zcard(k.pausing())
        pipe.zcard(k.leases())
        for name in services:
            pipe.zcard(k.queue(name))
            pipe.zrange(k.queue(name), 0, 0)
        pausing, running, *rest = await self._db.ask(pipe.execute)
        pipe = client.pipeline(transaction=False)
        heads = [ids[0].decode() for ids in rest[1::2] if ids]
        for id in heads:
            pipe.hgetall(k.record(id))
        rows = await self._db.ask(pipe.execute) if heads else []
        began = [job.created_at for job in (decode(JobRecord, row) for row in rows) if job is not None]
        return JobFigures(int(pausing) + sum(map(int, rest[0::2])), int(running), max((now - at for at in began), default=0.0))
