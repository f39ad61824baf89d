"""Which of the nodes that would take a session is best. Scores are between 0 and 1; their weights stand in one table."""

from __future__ import annotations

from collections.abc import Callable

from stoker.planning.need import Need
from stoker.planning.room import NodeRoom
from stoker.records import DeviceShare

Scorer = Callable[[Need, NodeRoom, tuple[DeviceShare, ...]], float]


def score(need: Need, room: NodeRoom, gpus: tuple[DeviceShare, ...]) -> float:
    """The weighted mean of all scorers."""
    total = sum(weight for _, weight in SCORERS)
    return sum(scorer(need, room, gpus) * weight for scorer, weight in SCORERS) / total


def _apart(need: Need, room: NodeRoom, gpus: tuple[DeviceShare, ...]) -> float:
    """Fewer replicas of the same service are better, unless the spec does not care."""
    return 1.0 if need.spread == "none" else 1.0 / (1 + room.replicas[(need.service, need.revision)])


def _spares_gpus(need: Need, room: NodeRoom, gpus: tuple[DeviceShare, ...]) -> float:
    """What needs no GPU stays away from machines that have them; shares go to devices that are shared already."""
    if not gpus:
        return 0.0 if room.devices else 1.0
    if need.whole:
        return 1.0
    return room.devices[gpus[0].device].share / 100


def _balanced(need: Need, room: NodeRoom, gpus: tuple[DeviceShare, ...]) -> float:
    """What is left of the scarcer of CPU and memory afterwards."""
    cpu = (room.cpu - need.cpu) / room.node.cpu if room.node.cpu else 0.0
    memory = (room.memory - need.memory) / room.node.memory if room.node.memory else 0.0
    return min(1.0, max(0.0, min(cpu, memory)))


SCORERS: tuple[tuple[Scorer, float], ...] = ((_apart, 4.0), (_spares_gpus, 2.0), (_balanced, 1.0))
