"""What a worker asks about accelerators. Each vendor's driver answers; third parties come by the entry points `stoker.devices`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from stoker.records import DeviceShare, Gpu


class Devices(Protocol):
    """The accelerators of one vendor on this node. All methods are quick; what a driver says slowly it must keep."""

    vendor: str

    def why_none(self) -> str | None:
        """None if the driver works; else a sentence that says what is missing."""
        ...

    def inventory(self, ours: Callable[[], Collection[int]]) -> tuple[Gpu, ...]:
        """Every device, with the memory that processes other than `ours()` use on it. Asking who is ours is dear."""
        ...

    def utilization(self) -> Mapping[str, float]:
        """Of each device the share of its time, 0 to 1, in which it was busy lately; those that do not tell are left out."""
        ...

    def environment(self, shares: Sequence[DeviceShare]) -> dict[str, str]:
        """The variables that show a session these devices and no others; also when it was given none."""
        ...

    def released(self, shares: Sequence[DeviceShare], pids: Collection[int]) -> bool:
        """Whether none of the processes `pids`, which are gone, still holds memory on these devices."""
        ...

    def close(self) -> None: ...
