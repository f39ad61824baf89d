"""The arrows of a session, one verb each. Each is refused unless the old status is one that the table allows its owner."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stoker.errors import InvalidRequest
from stoker.metrics.catalogue import PLACEMENT_BOUNDS, START_BOUNDS, field, known_reason
from stoker.records import Assignment, Event, Reason, SessionRecord
from stoker.states import TERMINAL, Owner, Phase, SessionStatus, sources
from stoker.store.database import Database, Guard, Tally, Written

_S = SessionStatus


class Sessions:
    """Verbs with `epoch` are the scheduler's, verbs with `node` are that node's worker's, the rest are admin calls'.

    All raise NotFound, Refused (the status or the node is another by now), StaleLeader or StoreUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, id: str) -> SessionRecord | None:
        return await self._db.get("session", id, SessionRecord)

    async def all(self) -> dict[str, SessionRecord]:
        return await self._db.all("session", SessionRecord)

    # the scheduler's

    async def create(self, record: SessionRecord, *, epoch: int) -> Written:
        """(new) → PENDING."""
        record = msgspec.structs.replace(record, status=_S.PENDING)
        event = self._event(record.id, record.service, "created", f"session {record.id} is wanted", "scheduler")
        return await self._db.commit("session", record.id, record, must="absent", epoch=epoch, stamp=("created_at",), event=event)

    async def place(self, session: SessionRecord, node: str, assignment: Assignment, *, epoch: int) -> Written:
        """PENDING → PLACED on `node`."""
        changes = {"node": node, "assignment": assignment, "reason": None, "refused": None, "revision": assignment.revision}
        where = f"{node}" + (f", GPU {', '.join(g.device for g in assignment.gpus)}" if assignment.gpus else "")
        tally = Tally(session.service, observe=("placement_seconds", "created_at", PLACEMENT_BOUNDS))
        return await self._lead(session, _S.PLACED, epoch, changes, "placed", f"placed on {where}", stamp=("placed_at",), tally=tally)

    async def unplace(self, session: SessionRecord, reason: Reason, *, epoch: int) -> Written:
        """PLACED → PENDING: the node refused it."""
        changes = {"node": None, "assignment": None, "refused": None, "reason": reason, "phase": None}
        return await self._lead(session, _S.PENDING, epoch, changes, reason.code, reason.message)

    async def keep_pending(self, session: SessionRecord, reason: Reason, *, epoch: int) -> Written:
        """PENDING stays PENDING, with the newest reason; nothing is written when it is the same."""
        return await self._db.commit(
            "session", session.id, {"reason": reason}, expect=[Guard("status", (_S.PENDING,))], epoch=epoch,
            event=None if session.reason == reason else self._event(session.id, session.service, reason.code, reason.message, "scheduler"),
        )  # fmt: skip

    async def withdraw(self, session: SessionRecord, reason: Reason, *, epoch: int) -> Written:
        """PENDING → STOPPED: no longer wanted before it had a place."""
        guard = [Guard("status", (_S.PENDING,))]
        return await self._move(session, _S.STOPPED, guard, {"reason": reason}, reason, "scheduler", epoch=epoch, stamp=("ended_at",))

    async def drain(self, session: SessionRecord, reason: Reason, until: float, *, epoch: int) -> Written:
        """PLACED | STARTING | READY | ASLEEP | LOST → DRAINING; the worker stops it when empty or at `until`."""
        changes = {"reason": reason, "drain_until": until}
        return await self._lead(session, _S.DRAINING, epoch, changes, reason.code, reason.message, stamp=("draining_at",))

    async def hasten(self, session: SessionRecord, reason: Reason, until: float, *, epoch: int) -> Written:
        """DRAINING stays, with an earlier end: somebody asked for it at once."""
        guard = [Guard("status", (_S.DRAINING,))]
        event = self._event(session.id, session.service, reason.code, reason.message, "scheduler")
        return await self._db.commit("session", session.id, {"drain_until": until}, expect=guard, epoch=epoch, event=event)

    async def lose(self, session: SessionRecord, reason: Reason, *, epoch: int) -> Written:
        """Any placed → LOST: the node is silent; nothing it holds is sold."""
        return await self._lead(session, _S.LOST, epoch, {"reason": reason}, reason.code, reason.message)

    async def recover(self, session: SessionRecord, *, epoch: int) -> Written:
        """LOST → READY: the node came back and reports it serving."""
        return await self._lead(session, _S.READY, epoch, {"reason": None}, "recovered", "the node is back and the session serves")

    async def write_off(self, session: SessionRecord, reason: Reason, *, epoch: int) -> Written:
        """LOST → STOPPED: by `node rm --lost`, or because the node booted anew."""
        guard = [Guard("status", (_S.LOST,))]
        return await self._move(session, _S.STOPPED, guard, {"reason": reason}, reason, "scheduler", epoch=epoch, stamp=("ended_at",))

    async def prune(self, id: str, *, epoch: int) -> Written:
        """Forget a session that ended, and what routers said about it."""
        written = await self._db.commit("session", id, {}, expect=[Guard("status", tuple(TERMINAL))], epoch=epoch, delete=True)
        pipe = self._db.client.pipeline(transaction=False)
        pipe.hdel(self._db.keys.route_health(), id)
        pipe.delete(self._db.keys.drain(id))
        await self._db.ask(pipe.execute)
        return written

    # the worker's

    async def start(self, session: SessionRecord, *, node: str) -> Written:
        """PLACED → STARTING: the journal granted it."""
        changes = {"phase": Phase.STARTING}
        return await self._work(session, _S.STARTING, node, changes, "starting", f"starting on {node}", stamp=("started_at", "phase_at"))

    async def ready(self, session: SessionRecord, address: str, *, node: str) -> Written:
        """STARTING | ASLEEP → READY at `address` (host:port)."""
        changes = {"phase": None, "address": address, "reason": None}
        tally = _phase(session)
        return await self._work(session, _S.READY, node, changes, "ready", f"ready at {address}", stamp=("ready_at",), tally=tally)

    async def sleep(self, session: SessionRecord, *, node: str) -> Written:
        """READY → ASLEEP at the scheduler's wish; `ready` is the way back."""
        return await self._work(session, _S.ASLEEP, node, {"address": None}, "asleep", "put to sleep", stamp=())

    async def fail(self, session: SessionRecord, reason: Reason, *, node: str) -> Written:
        """Any placed → FAILED: the process group is gone and the devices are free."""
        changes = {"phase": None, "reason": reason}
        return await self._work(session, _S.FAILED, node, changes, reason.code, reason.message, stamp=("ended_at",))

    async def stop(self, session: SessionRecord, *, node: str) -> Written:
        """DRAINING → STOPPED: the process group is gone and the devices are free."""
        return await self._work(session, _S.STOPPED, node, {"phase": None}, "stopped", f"stopped on {node}", stamp=("ended_at",))

    async def refuse(self, session: SessionRecord, reason: Reason, *, node: str) -> Written:
        """PLACED stays, with the node's refusal; the scheduler takes it back to PENDING."""
        guards = [Guard("status", (_S.PLACED,)), Guard("node", (node,))]
        event = self._event(session.id, session.service, reason.code, reason.message, f"worker {node}")
        return await self._db.commit("session", session.id, {"refused": reason}, expect=guards, event=event)

    async def report(self, session: SessionRecord, changes: Mapping[str, object], *, node: str) -> Written:
        """Facts about a session that is not over: phase, reason, pid, container, address. No arrow."""
        unknown = changes.keys() - {"phase", "reason", "pid", "container", "address"}
        if unknown:
            raise ValueError(f"not the worker's to report: {sorted(unknown)}")
        alive = (_S.PLACED, _S.STARTING, _S.READY, _S.ASLEEP, _S.DRAINING, _S.LOST)
        guards = [Guard("status", alive), Guard("node", (node,))]
        return await self._db.commit("session", session.id, changes, expect=guards, tally=_phase(session))

    # admin calls'

    async def wish(self, session: SessionRecord, wish: str, actor: str) -> Written:
        """Ask the scheduler to `drain` or `kill` this session; it is replaced if still wanted."""
        event = self._event(session.id, session.service, "stopped_by_user", f"{wish} asked for", actor)
        return await self._db.commit("session", session.id, {"wish": wish}, event=event)

    async def weigh(self, session: SessionRecord, weight: int, actor: str) -> Written:
        """The route's weight, 0..100. Raises InvalidRequest."""
        if not 0 <= weight <= 100:
            raise InvalidRequest("the weight must be between 0 and 100", param="weight")
        event = self._event(session.id, session.service, "weight", f"weight {weight}", actor)
        return await self._db.commit("session", session.id, {"weight": weight}, event=event)

    def _event(self, id: str, service: str, reason: str, message: str, actor: str) -> Event:
        return Event(object=f"service/{service}", reason=reason, message=f"{id}: {message}", actor=actor)

    async def _lead(
        self, session: SessionRecord, to: SessionStatus, epoch: int, changes: Mapping[str, object], code: str, message: str,
        stamp: tuple[str, ...] = (), tally: Tally | None = None,
    ) -> Written:  # fmt: skip
        guards = [Guard("status", sources(to, Owner.SCHEDULER))]
        return await self._move(session, to, guards, changes, Reason(code, message), "scheduler", epoch=epoch, stamp=stamp, tally=tally)

    async def _work(
        self, session: SessionRecord, to: SessionStatus, node: str, changes: Mapping[str, object], code: str, message: str,
        stamp: tuple[str, ...], tally: Tally | None = None,
    ) -> Written:  # fmt: skip
        guards = [Guard("status", sources(to, Owner.WORKER)), Guard("node", (node,))]
        return await self._move(session, to, guards, changes, Reason(code, message), f"worker {node}", stamp=stamp, tally=tally)

    async def _move(
        self, session: SessionRecord, to: SessionStatus, guards: list[Guard], changes: Mapping[str, object], why: Reason, actor: str,
        *, epoch: int | None = None, stamp: tuple[str, ...] = (), tally: Tally | None = None,
    ) -> Written:  # fmt: skip
        event = self._event(session.id, session.service, why.code, why.message, actor)
        if to in TERMINAL:
            reason = why if "reason" in changes else session.reason
            tally = Tally(session.service, {field("session_ends_total", known_reason(reason.code if reason else None)): 1})
        changes = {"status": to, **changes}
        return await self._db.commit("session", session.id, changes, expect=guards, epoch=epoch, stamp=stamp, event=event, tally=tally)


def _phase(session: SessionRecord) -> Tally:
    """How long the phase took that this write ends, if it ends one."""
    return Tally(session.service, observe=("session_start_seconds", "phase_at", START_BOUNDS), by="phase")
