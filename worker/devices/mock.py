"""Mock GPUs: slots for planning and tests. A session is told in MOCK_VISIBLE_DEVICES, never in a vendor's variable."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from stoker.errors import ConfigurationError
from stoker.records import DeviceShare, Gpu
from stoker.resources import parse_size

_GROUP = re.compile(r"(\d{1,4})x([A-Za-z0-9][A-Za-z0-9_. -]*?)-(\d+(?:\.\d+)?[A-Za-z]+)")


class MockDevices:
    """`text` is COUNTxMODEL-MEMORY, several of them with commas between: `8xH100-80GB`, `4xA100-40GiB,2xL4-24GB`."""

    vendor = "mock"

    def __init__(self, text: str) -> None:
        self._gpus = tuple(_parse(text))

    def why_none(self) -> str | None:
        return None

    def inventory(self, ours: Callable[[], Collection[int]]) -> tuple[Gpu, ...]:
        return self._gpus

    def utilization(self) -> dict[str, float]:
        return {}  # nothing runs on them

    def environment(self, shares: Sequence[DeviceShare]) -> dict[str, str]:
        return {"MOCK_VISIBLE_DEVICES": ",".join(share.device for share in shares)} if shares else {}

    def released(self, shares: Sequence[DeviceShare], pids: Collection[int]) -> bool:
        return True

    def close(self) -> None:
        return None


def _parse(text: str) -> list[Gpu]:
    found: list[Gpu] = []
    for part in text.split(","):
        match = _GROUP.fullmatch(part.strip())
        if not match:
            raise ConfigurationError(f"mock GPUs {part.strip()[:60]!r} are not understood; write COUNTxMODEL-MEMORY such as 8xH100-80GB")
        try:
            memory = parse_size(match[3])
        except ValueError as error:
            raise ConfigurationError(f"mock GPUs {part.strip()[:60]!r}: {error}") from error
        found += [Gpu(id=f"mock-{len(found) + n}", model=match[2], vendor="mock", memory=memory) for n in range(int(match[1]))]
    return found
