"""What nodes have left: totals less what sessions hold, per device, never by sums over devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from stoker.records import DeviceShare, Gpu, NodeRecord, SessionRecord
from stoker.resources import WHOLE_GPU
from stoker.states import HOLDING, SessionStatus

GONE = frozenset({SessionStatus.DRAINING, SessionStatus.LOST})
"""They hold what they have, but do not count as replicas when others are spread."""


class DeviceRoom:
    """One GPU: hundredths and bytes that sessions hold of it."""

    __slots__ = ("booked", "cordoned", "gpu", "share")

    def __init__(self, gpu: Gpu, cordoned: bool) -> None:
        self.gpu = gpu
        self.cordoned = cordoned
        self.share = 0
        self.booked = 0

    @property
    def free_share(self) -> int:
        return WHOLE_GPU - self.share

    @property
    def free_memory(self) -> int:
        """Foreign memory counts as used."""
        return self.gpu.memory - self.gpu.foreign_memory - self.booked


class NodeRoom:
    """One node: `cpu` millicores and `memory` bytes left, its devices, and how many replicas of (service, revision) it runs.

    `version` grows with every booking, so that an answer about this room can be told from an outdated one.
    """

    __slots__ = ("cpu", "devices", "memory", "node", "replicas", "version")

    def __init__(self, node: NodeRecord) -> None:
        self.node = node
        self.cpu = node.cpu
        self.memory = node.memory
        self.devices = {gpu.id: DeviceRoom(gpu, gpu.id in node.cordoned_gpus) for gpu in node.gpus}
        self.replicas: Counter[tuple[str, int]] = Counter()
        self.version = 0

    def hold(self, cpu: int, memory: int, shares: Iterable[DeviceShare], sign: int = 1) -> None:
        """Book (sign 1) or free (sign -1). Devices that the node no longer shows are nobody's to sell anyway."""
        self.version += 1
        self.cpu -= sign * cpu
        self.memory -= sign * memory
        for part in shares:
            device = self.devices.get(part.device)
            if device is not None:
                device.share += sign * part.share
                device.booked += sign * part.memory


class Rooms:
    """All nodes that are not removed, by name, with what the sessions hold booked on them. Scratch paper of one decision."""

    def __init__(self, nodes: Mapping[str, NodeRecord], sessions: Iterable[SessionRecord] = ()) -> None:
        self.by_name = {name: NodeRoom(node) for name, node in nodes.items() if not node.removed}
        for session in sessions:
            self.book(session)

    def book(self, session: SessionRecord) -> None:
        self._hold(session, 1)

    def release(self, session: SessionRecord) -> None:
        """Take back what `book` did for the same record."""
        self._hold(session, -1)

    def _hold(self, session: SessionRecord, sign: int) -> None:
        room = self.by_name.get(session.node or "")
        if room is None or session.assignment is None or session.status not in HOLDING:
            return
        resolution = session.assignment.resolution
        room.hold(resolution.cpu, resolution.memory, session.assignment.gpus, sign)
        if session.status not in GONE:
            room.replicas[(session.service, session.revision)] += sign
