"""NVIDIA GPUs by NVML. Where the driver is missing it says so instead of failing.

Not measured here: MIG, and what NVML calls a process inside another container's pid namespace (it is then not seen at all).
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

from stoker.records import DeviceShare, Gpu, Reason

log = logging.getLogger(__name__)

FOREIGN_BYTES = 64 * 2**20
"""Less than this in use by others is the driver's own business."""


class NvidiaDevices:
    """Devices are known by UUID, which stays the same over reboots and what CUDA_VISIBLE_DEVICES says."""

    vendor = "nvidia"

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: dict[str, Any] = {}
        self._why = self._open()

    def _open(self) -> str | None:
        if not _has_library():
            return "no NVIDIA driver is installed (libnvidia-ml is missing)"
        try:
            import pynvml
        except ImportError:
            return "the package nvidia-ml-py is not installed: type `pip install nvidia-ml-py`"
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError_LibraryNotFound:
            return "no NVIDIA driver is installed (libnvidia-ml is missing)"
        except pynvml.NVMLError as error:
            return f"the NVIDIA driver does not answer: {error}"
        self._nvml = pynvml
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            self._handles[_text(pynvml.nvmlDeviceGetUUID(handle))] = handle
        return None if self._handles else "the NVIDIA driver is there, but it has no devices"

    def why_none(self) -> str | None:
        return self._why

    def inventory(self, ours: Callable[[], Collection[int]]) -> tuple[Gpu, ...]:
        known = ours() if self._handles else ()
        return tuple(self._look(id, handle, known) for id, handle in self._handles.items())

    def utilization(self) -> dict[str, float]:
        found = {}
        for id, handle in self._handles.items():
            try:
                found[id] = int(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
            except self._nvml.NVMLError as error:  # not with MIG
                log.debug("NVML does not tell how busy %s is: %s", id, error)
        return found

    def environment(self, shares: Sequence[DeviceShare]) -> dict[str, str]:
        """A session without GPUs is told that there are none: else it would see them all."""
        if not self._handles:
            return {}
        return {"CUDA_VISIBLE_DEVICES": ",".join(share.device for share in shares), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    def released(self, shares: Sequence[DeviceShare], pids: Collection[int]) -> bool:
        return not any(pid in pids for share in shares for pid in self._users(share.device))

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.nvmlShutdown()

    def _look(self, id: str, handle: Any, ours: Collection[int]) -> Gpu:
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            foreign = sum(size for pid, size in self._users(id).items() if pid not in ours)
            return Gpu(
                id=id,
                model=_text(self._nvml.nvmlDeviceGetName(handle)),
                vendor=self.vendor,
                memory=int(memory.total),
                foreign_memory=foreign if foreign >= FOREIGN_BYTES else 0,
            )
        except self._nvml.NVMLError as error:
            return Gpu(id=id, model="", vendor=self.vendor, memory=0, status="fault", reason=Reason("gpu_fault", f"NVML says: {error}"))

    def _users(self, id: str) -> dict[int, int]:
        """Bytes by the pid that uses them, of compute and graphics."""
        handle, found = self._handles.get(id), dict[int, int]()
        if handle is None:
            return found
        for ask in (self._nvml.nvmlDeviceGetComputeRunningProcesses, self._nvml.nvmlDeviceGetGraphicsRunningProcesses):
            try:
                for process in ask(handle):
                    found[process.pid] = max(found.get(process.pid, 0), int(process.usedGpuMemory or 0))
            except self._nvml.NVMLError as error:
                log.debug("NVML does not tell who uses %s: %s", id, error)
        return found


def _has_library() -> bool:
    """Asked first, as pynvml is large, and would be imported on every machine without a GPU."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
