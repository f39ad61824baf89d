"""The node's own record of what it has granted, on disk and synced before anything is started: the last word on ports and shares.

One file per session, written aside, synced and renamed, so that a crash between any two steps leaves the old or the new one.
What cannot be read is not taken for free: `broken` names it, and the agent decides after looking whether its session still runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from stoker.records import Reason
from worker.grants import COOLING_SECONDS, Grant, Room, conflict

log = logging.getLogger(__name__)

_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,126}[a-z0-9])?")
_SUFFIX = ".json"
_LEADER = ".leader"
"""Not a session's: their ids have no dot."""

_STORES_KEPT = 8


class Held(Exception):
    """The node keeps what was asked for; `reason` names the holder."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Journal:
    """`open` reads it. Every change is on the disk when its method returns; OSError means that nothing has changed."""

    def __init__(self, folder: Path, grants: dict[str, Grant], epochs: dict[str, int], broken: dict[str, str]) -> None:
        self._folder = folder
        self._grants = grants
        self._epochs = epochs
        self.broken = broken

    @classmethod
    def open(cls, folder: Path) -> Journal:
        """Raises OSError where the folder cannot be used."""
        folder.mkdir(parents=True, exist_ok=True)
        grants: dict[str, Grant] = {}
        broken: dict[str, str] = {}
        epochs: dict[str, int] = {}
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            if path.stem == _LEADER:
                epochs = _read_epochs(path)
                continue
            try:
                grant = msgspec.json.decode(path.read_bytes(), type=Grant)
                if grant.session != path.stem:
                    raise msgspec.ValidationError(f"it is about {grant.session}")
                grants[grant.session] = grant
            except msgspec.MsgspecError as error:
                log.error("the journal's entry %s cannot be read and stays booked until its session is known to be gone: %s", path, error)
                broken[path.stem] = str(error)
        return cls(folder, grants, epochs, broken)

    @property
    def grants(self) -> dict[str, Grant]:
        """By session; those that ended are there until their port has cooled."""
        return self._grants

    def live(self, session: str) -> Grant | None:
        grant = self._grants.get(session)
        return grant if grant is not None and grant.ended_at is None else None

    async def claim(self, session: str, room: Room, make: Callable[[Iterable[Grant]], Grant]) -> Grant:
        """Grant what `make` composes from the grants there are. Raises Held, or OSError for a disk that is full.

        It is booked in memory before the first await, so that two sessions that come at once cannot get the same.
        """
        if not _ID.fullmatch(session):
            raise Held(Reason("held_by", "the session's id is not one that a node can use"))
        grant = make(self._grants.values())
        unknown = [name for name in self.broken if name != session]
        if unknown and grant.gpus:
            raise Held(Reason("held_by", f"the node's journal cannot tell what {', '.join(unknown)} holds; see the worker's log"))
        refusal = conflict(grant, self._grants.values(), room)
        if refusal is not None:
            raise Held(refusal)
        before = self._grants.get(session)
        self._grants[session] = grant
        try:
            await asyncio.to_thread(self._write, session, msgspec.json.encode(grant))
        except OSError:
            self._put_back(session, before)
            raise
        self.broken.pop(session, None)
        return grant

    async def restore(self, grant: Grant) -> None:
        """A grant known from elsewhere, whose entry could not be read while its session runs."""
        await asyncio.to_thread(self._write, grant.session, msgspec.json.encode(grant))
        self._grants[grant.session] = grant
        self.broken.pop(grant.session, None)

    async def intend(self, session: str, reason: Reason) -> None:
        """It is about to be stopped for this reason: another worker may have to finish that."""
        await self._change(session, reason=reason)

    async def end(self, session: str, reason: Reason | None, *, now: float) -> None:
        """Its engine is gone: shares and memory are free, the port cools. `reason` None: it was asked to stop."""
        await self._change(session, ended_at=now, reason=reason)

    async def mark_reported(self, session: str) -> None:
        """The store knows that it ended."""
        await self._change(session, reported=True)

    async def drop_broken(self, session: str) -> None:
        """An unreadable entry whose session is gone; the file is kept aside for whoever wants to know."""
        path = self._folder / f"{session}{_SUFFIX}"
        await asyncio.to_thread(os.replace, path, path.with_suffix(".broken"))
        self.broken.pop(session, None)

    async def forget_cold(self, now: float) -> None:
        """Remove what ended, was reported and has cooled."""
        cold = [g.session for g in self._grants.values() if g.ended_at is not None and g.reported and now - g.ended_at > COOLING_SECONDS]
        for session in cold:
            await asyncio.to_thread((self._folder / f"{session}{_SUFFIX}").unlink, missing_ok=True)
            self._grants.pop(session, None)

    async def saw(self, store: str, epoch: int) -> bool:
        """Keep the highest epoch seen of a data set; False for one that has gone backwards: a backup, or a stale replica."""
        known = self._epochs.get(store)
        if known is not None and epoch <= known:
            return epoch == known
        kept = dict([(s, e) for s, e in self._epochs.items() if s != store][-_STORES_KEPT + 1 :]) | {store: epoch}
        await asyncio.to_thread(self._write, _LEADER, msgspec.json.encode(kept))
        self._epochs = kept
        return True

    async def _change(self, session: str, **changes: object) -> None:
        changed = msgspec.structs.replace(self._grants[session], **changes)
        await asyncio.to_thread(self._write, session, msgspec.json.encode(changed))
        self._grants[session] = changed

    def _put_back(self, session: str, before: Grant | None) -> None:
        if before is None:
            self._grants.pop(session, None)
        else:
            self._grants[session] = before

    def _write(self, name: str, data: bytes) -> None:
        part = self._folder / f"{name}.part"
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._folder / f"{name}{_SUFFIX}")
        except OSError:
            part.unlink(missing_ok=True)
            raise
        directory = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _read_epochs(path: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except msgspec.MsgspecError as error:
        log.error("%s cannot be read, so the next leader's epoch is believed as it comes: %s", path, error)
        return {}
