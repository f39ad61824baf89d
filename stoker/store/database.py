"""The connection to Redis and the one guarded write that every verb is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
import redis.asyncio as aioredis
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, RedisError, TimeoutError

from stoker.errors import Conflict, ModelNameTaken, NotFound, Refused, StaleLeader, StoreUnavailable
from stoker.records import Event
from stoker.store.keys import Keys

RecordT = TypeVar("RecordT", bound=msgspec.Struct)

FEED_LENGTH = 16_384
"""Changes kept in the feed; a follower that is further behind reads everything anew."""

KEEP_REVISIONS = 20
_SLICE = 500
_UNREACHABLE = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OSError)


class Written(NamedTuple):
    """What a guarded write did: whether anything changed, the feed's version then, and the store's time."""

    changed: bool
    version: int
    time: float


class Guard(NamedTuple):
    """The field must hold one of these values, else the write is refused. Values are compared as JSON."""

    field: str
    values: tuple[object, ...]


def _fields(record: msgspec.Struct) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


class Database:
    """Redis under one cluster's prefix. Every method raises StoreUnavailable when the store cannot be reached."""

    def __init__(self, client: aioredis.Redis, keys: Keys) -> None:
        self.client = client
        self.keys = keys
        lua = files("stoker.store").joinpath("lua")
        self._scripts = {
            name: client.register_script(lua.joinpath(f"{name}.lua").read_text()) for name in ("commit", "lead", "resign", "drained")
        }

    async def ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Run one Redis call; what the network or a failover causes becomes StoreUnavailable."""
        try:
            return await call()
        except _UNREACHABLE as error:
            raise StoreUnavailable(f"the store does not answer: {error}") from error
        except RedisError as error:
            if str(error).startswith(("NOREPLICAS", "MASTERDOWN", "MISCONF", "OOM", "LOADING", "CLUSTERDOWN")):
                raise StoreUnavailable(f"the store refuses writes: {error}") from error
            raise

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
        dirty: bool = False,
        delete: bool = False,
        event: Event | None = None,
        names: tuple[str, tuple[str, ...]] | None = None,
        revision: bytes | None = None,
    ) -> Written:
        """Write fields of one record if every guard holds, tell the feed, keep the event: one Lua call.

        `epoch` is the leader's; `stamp` fields get the store's time; `names` is (project, model names to hold).
        Raises NotFound, Conflict (must be absent), Refused (a guard), StaleLeader, ModelNameTaken, StoreUnavailable.
        """
        fields = _fields(changes) if isinstance(changes, msgspec.Struct) else dict(changes)
        control: dict[str, object] = {"kind": kind, "id": id, "must": must, "stamp": stamp, "feed_length": FEED_LENGTH}
        control["expect"] = [[guard.field, [_json(value).decode() for value in guard.values]] for guard in expect]
        control |= {"keep_revisions": KEEP_REVISIONS, "delete": delete, "dirty": dirty, "touch": bool(stamp)}
        optional = {"epoch": epoch, "revision": revision.decode() if revision else None, "names": names[1] if names else None}
        control |= {name: value for name, value in optional.items() if value is not None}
        if event is not None:
            control["event"] = _json(event).decode()
        k = self.keys
        keys = [k.record(kind, id), k.index(kind), k.feed(), k.feed_version(), k.leader_epoch(), k.dirty(), k.events()]
        keys += [k.events(event.object if event else f"{kind}/{id}"), k.model_names(names[0] if names else ""), k.revisions(id)]
        args: list[Any] = [_json(control)]
        for name, value in fields.items():
            args += [name, _json(value)]
        return _outcome(kind, id, await self.script("commit", keys, args))

    async def get(self, kind: str, id: str, type: type[RecordT]) -> RecordT | None:
        """One record, or None."""
        return decode(type, await self.ask(lambda: self.client.hgetall(self.keys.record(kind, id))))  # type: ignore[arg-type,return-value]

    async def ids(self, kind: str) -> list[str]:
        members = await self.ask(lambda: self.client.smembers(self.keys.index(kind)))  # type: ignore[arg-type,return-value]
        return sorted(member.decode() for member in members)

    async def all(self, kind: str, type: type[RecordT]) -> dict[str, RecordT]:
        """All records of a kind by id, read in slices so that neither side blocks for long."""
        ids, found = await self.ids(kind), {}
        for start in range(0, len(ids), _SLICE):
            found.update(await self.many(kind, ids[start : start + _SLICE], type))
        return found

    async def many(self, kind: str, ids: list[str], type: type[RecordT]) -> dict[str, RecordT]:
        """The records that exist among `ids`, by id, in one round trip."""
        pipe = self.client.pipeline(transaction=False)
        for id in ids:
            pipe.hgetall(self.keys.record(kind, id))
        rows = await self.ask(pipe.execute)
        decoded = ((id, decode(type, row)) for id, row in zip(ids, rows, strict=True))
        return {id: record for id, record in decoded if record is not None}


def decode(type: type[RecordT], row: Mapping[bytes, bytes]) -> RecordT | None:
    """A record from its hash; fields this version does not know are dropped, missing ones get their defaults."""
    if not row:
        return None
    text = b",".join(b'"' + name + b'":' + value for name, value in row.items())
    return msgspec.json.decode(b"{" + text + b"}", type=type)


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
