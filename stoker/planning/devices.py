"""Which GPUs of one node a session gets: whole ones for itself alone, or a share of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from stoker.planning.need import Need
from stoker.planning.refusals import Refusal
from stoker.planning.room import DeviceRoom, NodeRoom
from stoker.records import DeviceShare
from stoker.resources import WHOLE_GPU, format_gpu, format_size

_OUT_OF_ORDER = frozenset({"cordoned", "fault", "stuck"})


def pick(need: Need, room: NodeRoom) -> tuple[DeviceShare, ...] | Refusal:
    """The devices, or the most telling refusal:

    1. right model and vendor; 2. big enough when empty; 3. in order; 4. enough free memory; 5. enough free share.
    Several devices are always of one model. Whole devices come from the smallest set that does; shares fill the fullest device.
    """
    if not need.gpus:
        return ()
    right = [device for device in room.devices.values() if _is_right(need, device)]
    if _most(right) < need.gpus:  # (1)
        return _no_device(need, some=bool(right))
    big = [device for device in right if _is_big_enough(need, device)]
    if _most(big) < need.gpus:  # (2)
        return _lacks(f"{_bytes(need, right)} of GPU memory", lasting=True)
    able = [device for device in big if _is_in_order(need, device)]
    if _most(able) < need.gpus:  # (3)
        return _out_of_order(big)
    roomy = [device for device in able if device.free_memory >= need.bytes_on(device.gpu.memory)]
    if _most(roomy) < need.gpus:  # (4)
        by_memory = need.gpu_memory or need.share_of_memory
        return _lacks(f"{_bytes(need, able)} of free GPU memory" if by_memory else _shares(need, able))
    free = [device for device in roomy if device.free_share >= need.share_on(device.gpu.memory)]
    if _most(free) < need.gpus:  # (5)
        return _lacks(_shares(need, roomy))
    return tuple(_share(need, device) for device in _choose(need, free))


def _is_right(need: Need, device: DeviceRoom) -> bool:
    model, vendor = device.gpu.model.lower(), device.gpu.vendor.lower()
    return (not need.gpu_models or any(word in model for word in need.gpu_models)) and need.gpu_vendor in (None, vendor)


def _is_big_enough(need: Need, device: DeviceRoom) -> bool:
    memory = device.gpu.memory
    return need.bytes_on(memory) <= memory and need.share_on(memory) <= WHOLE_GPU


def _is_in_order(need: Need, device: DeviceRoom) -> bool:
    """A device with foreign processes is given where the need is known, so that what is free can be held against it."""
    if device.cordoned or device.gpu.status in _OUT_OF_ORDER:
        return False
    return device.gpu.status != "foreign" or need.bytes_on(device.gpu.memory) > 0


def _by_model(devices: Iterable[DeviceRoom]) -> dict[str, list[DeviceRoom]]:
    found: dict[str, list[DeviceRoom]] = defaultdict(list)
    for device in devices:
        found[device.gpu.model].append(device)
    return found


def _most(devices: list[DeviceRoom]) -> int:
    """How many of one model there are at most."""
    return max((len(group) for group in _by_model(devices).values()), default=0)


def _choose(need: Need, free: list[DeviceRoom]) -> list[DeviceRoom]:
    if need.whole:
        groups = [group for group in _by_model(free).values() if len(group) >= need.gpus]
        smallest = min(groups, key=lambda group: (group[0].gpu.memory, len(group), group[0].gpu.id))
        return sorted(smallest, key=lambda device: device.gpu.foreign_memory)[: need.gpus]
    return [min(free, key=lambda device: (device.free_share, device.free_memory))]


def _share(need: Need, device: DeviceRoom) -> DeviceShare:
    memory = device.gpu.memory
    return DeviceShare(device.gpu.id, need.share_on(memory), need.booked_on(memory))


def _bytes(need: Need, devices: list[DeviceRoom]) -> str:
    return format_size(min(need.bytes_on(device.gpu.memory) for device in devices))


def _shares(need: Need, devices: list[DeviceRoom]) -> str:
    if need.whole:
        return "a free GPU" if need.gpus == 1 else f"{need.gpus} free GPUs of one model"
    return f"{format_gpu(min(need.share_on(device.gpu.memory) for device in devices))} of a free GPU"


def _no_device(need: Need, some: bool) -> Refusal:
    kind = f" of model {' or '.join(need.gpu_models)}" if need.gpu_models else ""
    kind += f" of vendor {need.gpu_vendor}" if need.gpu_vendor else ""
    if not some:
        return Refusal("no_fit", f"has no GPU{kind}", f"have no GPU{kind}", lasting=True)
    count = f"fewer than {need.gpus} GPUs{kind or ' of one model'}"
    return Refusal("no_fit", f"has {count}", f"have {count}", lasting=True)


def _out_of_order(devices: list[DeviceRoom]) -> Refusal:
    states = {"cordoned" if device.cordoned else device.gpu.status for device in devices} - {"ok"}
    code = "gpu_fault" if states <= {"fault", "stuck"} else "foreign_gpu_process" if states == {"foreign"} else "no_fit"
    words = f"GPUs that are not to be used ({', '.join(sorted(states))})"
    return Refusal(code, f"has {words}", f"have {words}")


def _lacks(what: str, lasting: bool = False) -> Refusal:
    return Refusal("no_fit", f"lacks {what}", f"lack {what}", lasting=lasting, busy=not lasting)
