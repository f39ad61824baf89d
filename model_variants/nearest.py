"""The nearest changes of a spec that would make it fit now, one field at a time."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stoker.planning.need import Need
from stoker.planning.placement import Search
from stoker.planning.room import Rooms
from stoker.resources import format_cpu, format_size

_GIB = 2**30


def nearest(need: Need, search: Search, *, placed: int, wanted: int) -> list[dict[str, str]]:
    """[{change, sentence}]: `change` is what to write in the spec. At most one per field, and only what would fit."""
    found = []
    if 0 < placed < wanted:
        found.append({"change": f"replicas: {placed}", "sentence": f"{placed} of {wanted} replicas have room now"})
    for field, value, smaller in _smaller(need, search.rooms):
        best = search.find(smaller).best
        if best is not None:
            found.append({"change": f"resources.{field}: {value}", "sentence": f"with {field} {value} it would fit on {best.node}"})
    return found


def _smaller(need: Need, rooms: Rooms) -> Iterator[tuple[str, str, Need]]:
    """The same need with one amount reduced to the most that any node of the group has left."""
    group = [room for room in rooms.by_name.values() if room.node.group == need.group]
    devices = [device for room in group for device in room.devices.values() if not device.cordoned]
    cpu = max((room.cpu for room in group), default=0)
    if 0 < cpu < need.cpu:
        yield "cpu", format_cpu(cpu), msgspec.structs.replace(need, cpu=cpu)
    memory = max((room.memory for room in group), default=0) // _GIB * _GIB
    if 0 < memory < need.memory:
        yield "memory", format_size(memory), msgspec.structs.replace(need, memory=memory)
    free = max((device.free_memory for device in devices if device.free_share > 0), default=0) // _GIB * _GIB
    if need.gpus and 0 < free < max(need.gpu_memory, need.share_of_memory):
        share = min(need.share_of_memory, free)
        yield "gpu_memory", format_size(free), msgspec.structs.replace(need, gpu_memory=free, share_of_memory=share)
    yield from _fewer_gpus(need)


def _fewer_gpus(need: Need) -> Iterator[tuple[str, str, Need]]:
    gpus = need.gpus // 2
    while gpus and need.whole:
        yield "gpu", str(gpus), msgspec.structs.replace(need, gpus=gpus)
        gpus //= 2
