"""The connection to Redis and the one guarded write that every verb is made of."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
import redis.asyncio as aioredis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
    WatchError,
)

from stoker.errors import Conflict, ModelNameTaken, NotFound, Refused, StaleLeader, StokerError, StoreUnavailable
from stoker.records import Event
from stoker.store.batch import Batch
from stoker.store.keys import Keys

log = logging.getLogger(__name__)

RecordT = TypeVar("RecordT", bound=msgspec.Struct)

FEED_LENGTH = 16_384
"""Changes kept in the feed; a follower that is further behind reads everything anew."""

KEEP_REVISIONS = 20
KEEP_EVENTS = 30 * 86_400
"""Seconds that the events of an object outlive its last one."""

ANSWER_SECONDS = 15.0
"""How long a call may take, connecting included. Not redis-py's `socket_timeout`: with that, on Python 3.11, a cancelled
task goes on as if nothing had happened (it sends inside asyncio.wait_for)."""

FULL_BYTES = 256 * 1024

SLICE = 200
SCRIPTS = ("commit", "lead", "resign", "drained", "ring", "count", "reach")
JOB_SCRIPTS = tuple(f"job_{verb}" for verb in ("accept", "claim", "move", "renew", "sweep", "append", "webhooks", "forget"))
_DENIED = (AuthenticationError, AuthorizationError, NoPermissionError)
_NO_ENTRY = re.compile(r"Authentication required|WRONGPASS|NOAUTH|invalid username-password")
_UNREACHABLE = (ConnectionError, TimeoutError, WatchError, OSError)
"""redis-py says WatchError when the connection goes while a key is watched; a lost race arq handles itself."""

_PASSING = re.compile(r"\b(LOADING|READONLY|NOREPLICAS|MASTERDOWN|MISCONF|OOM|BUSY|CLUSTERDOWN|UNBLOCKED|TRYAGAIN)\b")
"""What a server says that is not fit to be used now but may be later. Old servers wrap it into a script's error."""

_PASSING_CLASSES: Mapping[type[RedisError], str] = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY"}
"""redis-py takes the word off the message where it has a class for it."""


class StoreDenied(StoreUnavailable):
    """The server wants another password: a sentence at the start, an outage later."""


class Written(NamedTuple):
    """What a guarded write did: whether anything changed, the feed's version then, and the store's time."""

    changed: bool
    version: int
    time: float


class Tally(NamedTuple):
    """What a write counts, if it changes anything: `counts` are fields of the service's counters by so much; `observe` (histogram,
    field with the time it began, bounds in seconds), and with `by` the field whose old value is the label, if that changes.
    """

    service: str
    counts: Mapping[str, int] = {}
    observe: tuple[str, str, tuple[float, ...]] | None = None
    by: str = ""


class Guard(NamedTuple):
    """The field must hold one of these values (none of them with `none`), else the write is refused. Compared as JSON."""

    field: str
    values: tuple[object, ...]
    none: bool = False


def _fields(record: msgspec.Struct) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


class Database:
    """Redis under one cluster's prefix. Every method raises StoreUnavailable when the store cannot be reached.

    `folder` is where a server on this machine keeps its socket: with its disk full, the server ends instead of losing writes.
    """

    def __init__(self, client: aioredis.Redis, keys: Keys, folder: Path | None = None) -> None:
        self.client = client
        self.keys = keys
        self._folder = folder
        lua = files("stoker.store").joinpath("lua")
        self._scripts = {name: client.register_script(lua.joinpath(f"{name}.lua").read_text()) for name in (*SCRIPTS, *JOB_SCRIPTS)}
        self._commits = Batch(client, self._scripts["commit"])

    async def ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Run one Redis call. No error of Redis comes out of it: the cause of a StoreUnavailable is for the log."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await call()
        except (*_UNREACHABLE, *_DENIED) as error:
            if isinstance(error, _DENIED) or _NO_ENTRY.search(str(error)):
                raise StoreDenied("the store refuses this user or password; see the password in STOKER_REDIS_URL") from error
            raise StoreUnavailable(self._absence(), retry_after=2) from error
        except RedisError as error:
            word = _passing(error)
            if word is None:
                raise StokerError(f"the store answered with an error: {error}") from error
            raise StoreUnavailable(f"the store cannot be used now ({word}); try again in a moment", retry_after=2) from error

    def _absence(self) -> str:
        if self._folder is not None and is_full(self._folder):
            return f"the disk of {self._folder} is full, so the store cannot write; free some space, and it comes back by itself"
        return "the store does not answer; try again in a moment"

    async def script(self, name: str, keys: list[str], args: list[Any]) -> Any:
        """Run one of the Lua files by name."""
        return await self.ask(lambda: self._scripts[name](keys=keys, args=args))

    async def time(self) -> float:
        """The store's clock, in seconds since the epoch: the one clock that all machines share."""
        seconds, micros = await self.ask(self.client.time)
        return float(seconds) + float(micros) / 1e6

    async def commit(
        self,
        kind: str,
        id: str,
        changes: Mapping[str, object] | msgspec.Struct,
        *,
        must: Literal["exist", "absent", "any"] = "exist",
        expect: Iterable[Guard] = (),
        epoch: int | None = None,
        stamp: tuple[str, ...] = (),
        delete: bool = False,
        event: Event | None = None,
        names: tuple[str, tuple[str, ...]] | None = None,
        revision: bytes | None = None,
        tally: Tally | None = None,
    ) -> Written:
        """Write fields of one record if every guard holds, tell the feed, keep the event: one Lua call.

        `epoch` is the leader's; `stamp` fields get the store's time; `names` is (project, model names to hold); `tally` is counted
        with the write, so exactly once.
        Raises NotFound, Conflict (must be absent), Refused (a guard), StaleLeader, ModelNameTaken, StoreUnavailable.
        """
        fields = _fields(changes) if isinstance(changes, msgspec.Struct) else dict(changes)
        control: dict[str, object] = {"kind": kind, "id": id, "must": must, "stamp": stamp, "feed_length": FEED_LENGTH}
        control["expect"] = [[guard.field, [_json(value).decode() for value in guard.values], guard.none] for guard in expect]
        control |= {"keep_revisions": KEEP_REVISIONS, "keep_events": KEEP_EVENTS, "delete": delete, "touch": bool(stamp)}
        optional = {"epoch": epoch, "revision": revision.decode() if revision else None, "names": names[1] if names else None}
        control |= {name: value for name, value in optional.items() if value is not None} | _counted(tally)
        if event is not None:
            control["event"] = _json(event).decode()
        k = self.keys
        keys = [k.record(kind, id), k.index(kind), k.feed(), k.feed_version(), k.leader_epoch(), k.events()]
        keys += [k.events(event.object if event else f"{kind}/{id}"), k.model_names(names[0] if names else ""), k.revisions(id)]
        about = tally.service if tally else id
        keys += [k.record("service", about), k.counters(about), k.counters()]
        args: list[Any] = [_json(control)]
        for name, value in fields.items():
            args += [name, _json(value)]
        return _outcome(kind, id, await self.ask(lambda: self._commits.run(keys, args)))

    async def get(self, kind: str, id: str, type: type[RecordT]) -> RecordT | None:
        """One record, or None. Raises StokerError for one that this version cannot read."""
        row = await self.ask(lambda: self.client.hgetall(self.keys.record(kind, id)))  # type: ignore[arg-type,return-value]
        try:
            return decode(type, row)
        except msgspec.MsgspecError as error:
            raise StokerError(f"the stored {kind} {id} cannot be read by this version ({error}); upgrade this process") from error

    async def ids(self, kind: str) -> list[str]:
        members = await self.ask(lambda: self.client.smembers(self.keys.index(kind)))  # type: ignore[arg-type,return-value]
        return sorted(member.decode() for member in members)

    async def all(self, kind: str, type: type[RecordT]) -> dict[str, RecordT]:
        """All records of a kind by id, read in slices so that neither side blocks for long."""
        ids, found = await self.ids(kind), {}
        for start in range(0, len(ids), SLICE):
            found.update(await self.many(kind, ids[start : start + SLICE], type))
        return found

    async def many(self, kind: str, ids: list[str], type: type[RecordT]) -> dict[str, RecordT]:
        """The records that exist among `ids`, by id, in one round trip; those that cannot be read are told and left out."""
        found = {}
        for id, row in zip(ids, await self.rows(kind, ids), strict=True):
            try:
                record = decode(type, row)
            except msgspec.MsgspecError as error:
                unreadable(kind, id, error)
                continue
            if record is not None:
                found[id] = record
        return found

    async def rows(self, kind: str, ids: list[str]) -> list[dict[bytes, bytes]]:
        """The hashes of `ids`, empty where there is none, in one round trip."""
        pipe = self.client.pipeline(transaction=False)
        for id in ids:
            pipe.hgetall(self.keys.record(kind, id))
        answer: list[dict[bytes, bytes]] = await self.ask(pipe.execute)
        return answer


def is_full(folder: Path) -> bool:
    """Whether the disk of `folder` has less than FULL_BYTES left; False where nobody can say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < FULL_BYTES


def unreadable(kind: str, id: str, error: msgspec.MsgspecError) -> None:
    """Say which record was skipped; it may be a newer version's."""
    log.error("the stored %s %s cannot be read by this version and is left alone: %s", kind, id, error)


def decode(type: type[RecordT], row: Mapping[bytes, bytes]) -> RecordT | None:
    """A record from its hash; fields this version does not know are dropped, missing ones get their defaults."""
    if not row:
        return None
    text = b",".join(b'"' + name + b'":' + value for name, value in row.items())
    return msgspec.json.decode(b"{" + text + b"}", type=type)


def _counted(tally: Tally | None) -> dict[str, object]:
    if tally is None:
        return {}
    found: dict[str, object] = {"count": tally.counts} if tally.counts else {}
    if tally.observe is not None:
        name, since, bounds = tally.observe
        found["observe"] = [[name, since, tally.by, bounds]]
    return found


def _passing(error: RedisError) -> str | None:
    word = _PASSING.search(str(error))
    return word[0] if word else _PASSING_CLASSES.get(type(error))


def _outcome(kind: str, id: str, answer: list[Any]) -> Written:
    word = answer[0].decode()
    if word in ("ok", "same"):
        return Written(word == "ok", int(answer[1]), float(answer[2]))
    if word == "absent":
        raise NotFound(f"there is no {kind} {id}")
    if word == "present":
        raise Conflict(f"the {kind} {id} exists already")
    if word == "stale":
        raise StaleLeader("a newer scheduler leads")
    if word == "taken":
        raise ModelNameTaken(f"the model name {answer[1].decode()} is taken by the service {answer[2].decode()}", param="model_name")
    raise Refused(f"{kind} {id}: {answer[1].decode()} is {answer[2].decode()}")
