"""What happens to a service: admin calls put, scale, wake and delete it; the scheduler decides and finally forgets it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import msgspec

from stoker.errors import Conflict, ModelNameTaken, NotFound, Refused, VersionConflict
from stoker.records import Event, ServiceRecord
from stoker.store.database import Database, Guard, Tally, Written

_RETRIES = 100
SCHEDULERS_FIELDS = frozenset({"wanted", "resolved", "resolved_revision", "reason", "backoff"})


class Services:
    """Verbs with `epoch` are the scheduler's, the others are admin calls'."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, name: str) -> ServiceRecord | None:
        return await self._db.get("service", name, ServiceRecord)

    async def all(self) -> dict[str, ServiceRecord]:
        return await self._db.all("service", ServiceRecord)

    async def put(
        self,
        wanted: ServiceRecord,
        *,
        model_names: tuple[str, ...],
        new_revision: bool,
        refresh: bool,
        expect_version: int | None,
        actor: str,
    ) -> tuple[ServiceRecord, Written]:
        """Create or change. `wanted` carries spec, name, project, owner, endpoint; the rest is taken from what is stored.

        `new_revision`: sessions must change; `refresh`: what auto chose is chosen anew. `model_names` are held for it
        within the project. An unchanged spec without `new_revision` writes nothing. `expect_version` is If-Match; 0: must be new.
        Without it the last of several writers at once wins; whoever derived `new_revision` from an older spec names its version.
        Raises VersionConflict, ModelNameTaken, Conflict (being deleted, or in another project), StoreUnavailable.
        """
        for _ in range(_RETRIES):
            old = await self.get(wanted.name)
            if expect_version is not None and (old.version if old else 0) != expect_version:
                raise VersionConflict(f"the service {wanted.name} is at version {old.version if old else 0}, not {expect_version}")
            if old is not None and old.deleted_at is not None:
                raise Conflict(f"the service {wanted.name} is being deleted; try again once it is gone", retry_after=5)
            if old is not None and old.project != wanted.project:
                raise Conflict(f"the service {wanted.name} belongs to another project")
            if old is not None and old.spec == wanted.spec and not new_revision:
                return old, Written(False, 0, await self._db.time())
            try:
                return await self._write(old, wanted, model_names, new_revision, refresh, actor)
            except ModelNameTaken:
                raise
            except (Refused, NotFound, Conflict):  # somebody else was faster: look again
                await asyncio.sleep(random.uniform(0, 0.02))
        raise VersionConflict(f"the service {wanted.name} changes too fast; try again")

    async def _write(
        self, old: ServiceRecord | None, wanted: ServiceRecord, names: tuple[str, ...], new_revision: bool, refresh: bool, actor: str
    ) -> tuple[ServiceRecord, Written]:
        version, revision = (old.version + 1, old.revision + new_revision) if old else (1, 1)
        resolve_at = revision if old is None or refresh else old.resolve_at
        changes: dict[str, object] = {"spec": wanted.spec, "version": version, "revision": revision, "resolve_at": resolve_at}
        if old is None:
            merged = msgspec.structs.replace(wanted, version=1, revision=1, resolve_at=1)
            fields: Any = merged
        else:
            merged = msgspec.structs.replace(old, **changes)
            fields = changes
        kept = msgspec.json.encode({"revision": revision, "version": version, "spec": wanted.spec, "actor": actor})
        event = Event(
            object=f"service/{wanted.name}", reason="applied", message=f"version {version}, revision {revision} applied", actor=actor
        )
        written = await self._db.commit(
            "service",
            wanted.name,
            fields,
            must="exist" if old else "absent",
            expect=[Guard("version", (old.version,)), Guard("deleted_at", (None,))] if old else (),
            stamp=("updated_at",) if old else ("created_at", "updated_at"),
            event=event,
            names=(wanted.project, names),
            revision=kept if new_revision or old is None else None,
        )
        created = old.created_at if old else written.time
        return msgspec.structs.replace(merged, updated_at=written.time, created_at=created), written

    async def revisions(self, name: str) -> list[dict[str, Any]]:
        """The last revisions, newest first: {revision, version, spec, actor}."""
        rows = await self._db.ask(lambda: self._db.client.lrange(self._db.keys.revisions(name), 0, -1))  # type: ignore[arg-type,return-value]
        return [msgspec.json.decode(row) for row in rows]

    async def wake(self, name: str) -> Written:
        """A request waits for this service: the scheduler should want at least one session."""
        return await self._db.commit("service", name, {}, expect=[Guard("deleted_at", (None,))], stamp=("woken_at",))

    async def delete(self, service: ServiceRecord, *, now: bool, actor: str) -> Written:
        """Mark it deleted: its sessions drain (at once with `now`), then the scheduler forgets it. Its model names are free."""
        event = Event(object=f"service/{service.name}", reason="deleted", message="deleted" + (" at once" if now else ""), actor=actor)
        return await self._db.commit(
            "service",
            service.name,
            {"drop_now": True} if now else {},
            stamp=() if service.deleted_at else ("deleted_at",),
            event=event,
            names=(service.project, ()),
        )

    async def decide(
        self, name: str, changes: dict[str, object], *, epoch: int, event: Event | None = None, count: Mapping[str, int] | None = None
    ) -> Written:
        """The scheduler's own fields: wanted, resolved, resolved_revision, reason, backoff. `count` goes to its counters."""
        unknown = changes.keys() - SCHEDULERS_FIELDS
        if unknown:
            raise ValueError(f"not the scheduler's to write: {sorted(unknown)}")
        tally = Tally(name, count) if count else None
        return await self._db.commit("service", name, changes, epoch=epoch, event=event, tally=tally)

    async def forget(self, name: str, *, epoch: int) -> Written:
        """Deleted, and no session is left. Refused for one that was made anew meanwhile. Its revisions go with it."""
        guard = Guard("deleted_at", (None,), none=True)
        return await self._db.commit("service", name, {}, expect=[guard], epoch=epoch, delete=True)

    async def clear_dirty(self) -> None:
        """The scheduler is about to look at everything: the next ring is heard again. The doorbell's worker calls it."""
        await self._db.ask(lambda: self._db.client.delete(self._db.keys.dirty()))
