"""Who holds what on this node, decided from the journal alone: nothing is granted that has an owner."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from stoker.records import DeviceShare, Reason
from stoker.resources import WHOLE_GPU, format_gpu, format_size

COOLING_SECONDS = 600.0
"""A port is not given to another session for so long: somebody may still send it requests."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one session holds. `memory` bytes of the machine; `store` is the id of the data set that asked for it.
    `reason` is why it must stop, or failed. `ended_at` set: the engine is gone and only the port still cools; `reported`: the
    store knows that it ended.
    """

    session: str
    service: str
    store: str
    port: int
    memory: int = 0
    gpus: tuple[DeviceShare, ...] = ()
    granted_at: float = 0.0
    ended_at: float | None = None
    reason: Reason | None = None
    reported: bool = False


class Room(msgspec.Struct, frozen=True):
    """What there is to give: bytes of memory, and of each usable device's memory by its id."""

    memory: int
    devices: Mapping[str, int]


def live(grants: Iterable[Grant]) -> list[Grant]:
    return [grant for grant in grants if grant.ended_at is None]


def conflict(wanted: Grant, grants: Iterable[Grant], room: Room) -> Reason | None:
    """Why it cannot be granted; None if all of it is free. Ports are `pick_port`'s business, but never taken twice here either."""
    others = [grant for grant in live(grants) if grant.session != wanted.session]
    for share in wanted.gpus:
        refusal = _device_conflict(share, others, room)
        if refusal:
            return refusal
    if len({share.device for share in wanted.gpus}) < len(wanted.gpus):
        return Reason("held_by", "the assignment names the same device twice")
    taken = sum(grant.memory for grant in others)
    if wanted.memory + taken > room.memory:
        return Reason(
            "held_by",
            f"{format_size(wanted.memory)} of memory are wanted, and {format_size(max(0, room.memory - taken))} are free on the node",
        )
    holder = next((grant.session for grant in others if grant.port == wanted.port), None)
    return Reason("held_by", f"port {wanted.port} is held by {holder}") if holder else None


def _device_conflict(wanted: DeviceShare, others: list[Grant], room: Room) -> Reason | None:
    if wanted.device not in room.devices:
        return Reason("gpu_fault", f"the node has no usable device {wanted.device}")
    held = [(grant.session, share) for grant in others for share in grant.gpus if share.device == wanted.device]
    holders = ", ".join(session for session, _ in held)
    free = WHOLE_GPU - sum(share.share for _, share in held)
    if wanted.share > free:
        what = f"{format_gpu(wanted.share)} of device {wanted.device} is wanted, {format_gpu(free)} is free"
        return Reason("held_by", f"{what}: it is held by {holders}")
    memory = room.devices[wanted.device] - sum(share.memory for _, share in held)
    if wanted.memory > memory:
        what = f"{format_size(wanted.memory)} on device {wanted.device} are wanted, {format_size(max(0, memory))} are free"
        return Reason("held_by", f"{what}: it is held by {holders}" if holders else what)
    return None


def port_candidates(first: int, last: int, grants: Collection[Grant], now: float, seed: str) -> Iterator[int]:
    """Ports of the range in the order to try them: never one that is held; those that cool come last, oldest first.

    The order starts at a place that depends on `seed`, so that two nodes of one machine seldom try the same.
    """
    held = {grant.port for grant in live(grants)}
    cooling = {grant.port: grant.ended_at for grant in grants if grant.ended_at is not None and now - grant.ended_at < COOLING_SECONDS}
    count = last - first + 1
    start = random.Random(seed).randrange(count)
    fresh = (first + (start + step) % count for step in range(count))
    yield from (port for port in fresh if port not in held and port not in cooling)
    yield from (port for port in sorted(cooling, key=lambda p: cooling[p]) if first <= port <= last and port not in held)
