"""What an idle platform costs: CPU of one core and PSS, store included, sessions apart."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench.stack import platform, tree

SETTLE_SECONDS = 10
SECONDS = 30


def _cpu(pid: int) -> float:
    """CPU seconds so far, all threads."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def _pss(pid: int) -> float:
    """Proportional set size in MB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().split()
    if any(server in words[0] for server in ("valkey", "redis")):
        return "store"
    roles = {"router": "router", "router.jobs": "runner", "scheduler": "scheduler", "worker": "worker"}
    return next((roles[word] for word in words if word in roles), "up")


def measure(rounds: int) -> dict[str, Any]:
    """`rounds` is not used: one stretch of 30 s after 10 s of rest."""
    with platform() as up:
        time.sleep(SETTLE_SECONDS)
        before = {pid: _cpu(pid) for pid in tree(up["pid"])}
        time.sleep(SECONDS)
        after = {pid: _cpu(pid) for pid in before}
        figures: dict[str, Any] = {}
        for pid in before:
            share = (after[pid] - before[pid]) / SECONDS
            figures[f"{_name(pid)} ({pid})"] = f"{share:.2%} of a core, {_pss(pid):.1f} MB PSS"
        figures["all"] = f"{sum(after[p] - before[p] for p in before) / SECONDS:.2%} of a core, {sum(_pss(p) for p in before):.1f} MB PSS"
        return figures
