"""/admin/nodes: list, show, cordon, drain, remove."""

from __future__ import annotations

from starlette.responses import Response

from router.admin import shapes, views
from router.admin.call import Call, Words, answer
from stoker.errors import Conflict, InvalidRequest, NotFound
from stoker.records import NodeRecord
from stoker.states import HOLDING

_MOST_SECONDS = 86_400.0


class Cordon(Words, frozen=True):
    """`gpu`: only this device; None: the whole node."""

    gpu: str | None = None


class Drain(Words, frozen=True):
    """Its sessions move away; those left after `timeout` seconds are stopped."""

    timeout: float = 300.0


async def index(call: Call) -> Response:
    rows = (record for record in call.context.mirror.nodes.values() if not record.removed)
    return call.page(rows, lambda record: record.name, lambda record: view(call, record))


async def show(call: Call) -> Response:
    return answer(view(call, _node(call)))


async def cordon(call: Call) -> Response:
    """No new sessions there; those that run stay."""
    record, gpu = _node(call), (await call.read(Cordon)).gpu
    if gpu is None:
        return await _mark(call, record, {"cordoned": True}, "cordoned", "no new sessions")
    if gpu not in {device.id for device in record.gpus}:
        raise NotFound(f"{record.name} has no GPU {gpu[:80]}; `stoker node info {record.name}` lists them")
    marked = tuple(dict.fromkeys((*record.cordoned_gpus, gpu)))
    return await _mark(call, record, {"cordoned_gpus": marked}, "cordoned", f"no new sessions on GPU {gpu}")


async def uncordon(call: Call) -> Response:
    """Open again: the node, all of its GPUs, and a drain is over."""
    record, gpu = _node(call), (await call.read(Cordon)).gpu
    if gpu is not None:
        left = tuple(device for device in record.cordoned_gpus if device != gpu)
        return await _mark(call, record, {"cordoned_gpus": left}, "uncordoned", f"GPU {gpu[:80]} takes sessions again")
    changes: dict[str, object] = {"cordoned": False, "draining_until": None, "cordoned_gpus": ()}
    return await _mark(call, record, changes, "uncordoned", "takes sessions again")


async def drain(call: Call) -> Response:
    """Cordoned, and its sessions move away."""
    record, seconds = _node(call), (await call.read(Drain)).timeout
    if not 0 <= seconds <= _MOST_SECONDS:
        raise InvalidRequest("timeout is a number of seconds from 0 to 86400", param="timeout")
    until = await call.context.store.time() + seconds
    changes: dict[str, object] = {"cordoned": True, "draining_until": until}
    return await _mark(call, record, changes, "draining", f"its sessions move away within {seconds:g} s", 202)


async def remove(call: Call) -> Response:
    """Forget a node that holds nothing; `?lost=true` writes off the sessions of one that will not come back."""
    record, lost = _node(call), call.flag("lost")
    shown = view(call, record)
    if not lost:
        if shown.sessions:
            raise Conflict(f"{record.name} holds {len(shown.sessions)} sessions; drain it first, or use --lost if it will not come back")
        written = await call.context.store.nodes.forget(record.name)
        await call.context.caught_up(written.version)
        return answer(shown)
    if shown.status not in ("silent", "lost"):
        raise Conflict(f"{record.name} is alive ({shown.status}), so its sessions are not lost; drain it instead")
    return await _mark(call, record, {"removed": True}, "removed", "will not come back; its sessions are written off", 202)


def view(call: Call, record: NodeRecord) -> shapes.Node:
    """A node that has just registered counts as seen then, until its first heartbeat is read."""
    pulse, sessions = call.context.pulse, call.context.mirror.sessions.values()
    seen = max(pulse.seen.get(record.name, 0.0), record.registered_at)
    shown = (s for s in sessions if s.node == record.name and s.status in HOLDING and call.sees(s.project, s.service))
    whole = views.node(record, sessions, seen, pulse.looked_at, call.context.settings)
    return whole if call.principal.is_admin else views.with_sessions(whole, shown)


def _node(call: Call) -> NodeRecord:
    name = call.part("name")
    record = call.context.mirror.nodes.get(name)
    if record is None:
        raise NotFound(f"there is no node {name[:80]}; `stoker node ls` lists them")
    return record


async def _mark(call: Call, record: NodeRecord, changes: dict[str, object], reason: str, message: str, status: int = 200) -> Response:
    written = await call.context.store.nodes.mark(record.name, changes, reason=reason, message=message, actor=call.principal.actor)
    await call.context.ring(record.name)
    await call.context.caught_up(written.version)
    return answer(view(call, call.context.mirror.nodes.get(record.name, record)), status)
