"""A platform of a measurement's own: `stoker up` in a fresh data directory, on a free port."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STOKER = [sys.executable, "-m", "stoker.cli.main"]


@contextmanager
def platform(*flags: str) -> Iterator[dict[str, Any]]:
    """What `stoker up --json` printed, while the platform runs."""
    folder = Path(tempfile.mkdtemp(prefix="stoker-bench-"))
    try:
        command = [*STOKER, "up", "-d", "--json", "--port", "0", "--data-dir", str(folder), *flags]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        yield json.loads(found.stdout)
    finally:
        subprocess.run([*STOKER, "down", "--data-dir", str(folder)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` (0..1) of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(values: list[float]) -> str:
    """`p50 12.3 ms, p99 45.6 ms, max 50.1 ms (n 100)` of seconds."""
    shown = ", ".join(f"p{int(s * 100)} {percentile(values, s) * 1000:.1f} ms" for s in (0.5, 0.9, 0.99))
    return f"{shown}, max {max(values) * 1000:.1f} ms (n {len(values)})"


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants that are not sessions (a session's supervisor is a child of its worker)."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"supervisor.py" not in words:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, open_ = [], [pid]
    while open_:
        current = open_.pop()
        found.append(current)
        open_ += children.get(current, [])
    return found
