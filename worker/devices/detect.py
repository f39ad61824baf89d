"""Which drivers this node uses: the mock alone where mock GPUs are asked for, else every vendor's that finds devices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from stoker.records import DeviceShare, Gpu
from worker.devices.base import Devices

log = logging.getLogger(__name__)


class AllDevices:
    """Several vendors' devices as one. `why_none` joins what the drivers that found nothing say."""

    vendor = "all"

    def __init__(self, drivers: Sequence[Devices]) -> None:
        self._reasons = [f"{driver.vendor}: {why}" for driver in drivers if (why := driver.why_none())]
        self._drivers = [driver for driver in drivers if driver.why_none() is None]

    def why_none(self) -> str | None:
        return "; ".join(self._reasons) if not self._drivers else None

    def inventory(self, ours: Callable[[], Collection[int]]) -> tuple[Gpu, ...]:
        return tuple(gpu for driver in self._drivers for gpu in driver.inventory(ours))

    def utilization(self) -> dict[str, float]:
        return {device: share for driver in self._drivers for device, share in driver.utilization().items()}

    def environment(self, shares: Sequence[DeviceShare]) -> dict[str, str]:
        found: dict[str, str] = {}
        for driver in self._drivers:
            known = {gpu.id for gpu in driver.inventory(tuple)}
            found |= driver.environment([share for share in shares if share.device in known])
        return found

    def released(self, shares: Sequence[DeviceShare], pids: Collection[int]) -> bool:
        return all(driver.released(shares, pids) for driver in self._drivers)

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()


def detect(mock_gpus: str | None) -> AllDevices:
    """Raises ConfigurationError for mock GPUs that are not understood."""
    if mock_gpus:
        from worker.devices.mock import MockDevices

        return AllDevices([MockDevices(mock_gpus)])
    from worker.devices.nvidia import NvidiaDevices

    found = AllDevices([NvidiaDevices()])
    why = found.why_none()
    if why:
        log.info("no GPUs: %s", why)
    return found
