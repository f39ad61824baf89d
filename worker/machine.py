"""What this machine has: processors, memory, a boot id."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
_QUOTA_2 = Path("/sys/fs/cgroup/cpu.max")


def cpu_millis() -> int:
    """Millicores this process may use: its affinity, and the quota of its container where there is one."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    whole = count * 1000
    try:
        quota, period = _QUOTA_2.read_text().split()
        return min(whole, int(quota) * 1000 // int(period))
    except (OSError, ValueError):
        return whole


def memory_bytes() -> int:
    """Bytes of memory, or the container's limit where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _LIMITS:
        try:
            total = min(total, int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return total


def node_name(given: str | None) -> str:
    """The given name, else the machine's own as a DNS label."""
    if given:
        return given
    label = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().split(".")[0].lower()).strip("-")[:63].strip("-")
    return label or "node"
