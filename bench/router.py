"""The router beside other proxies: the same engines and clients, in turn, each for a few seconds; CPU of the proxy counts.

The machine's noise moves wall time by far more than CPU per request, and CPU itself by 5 to 30 %: compare within one run.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.peers import free_port, peer, running
from bench.stack import tree

PEERS = ("stoker", "nginx", "vllm-router", "sglang-router")
SECONDS = 3.0
CONNECTIONS = {"unary": 32, "stream": 200}
STREAM_SECONDS = 5.0
ENGINES = 4


def measure(rounds: int) -> dict[str, Any]:
    """`rounds` turns of all peers, of which there are at most five. Per peer and kind of work the median."""
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as folder, contextlib.ExitStack() as stack:
        tool = f"{folder}/traffic"
        subprocess.run(["gcc", "-O2", "-o", tool, str(Path(__file__).with_name("traffic.c"))], check=True)
        engines = [free_port() for _ in range(ENGINES)]
        stack.enter_context(running([tool, "engine", *map(str, engines)], engines[-1]))
        up, missing = {}, []
        for name in PEERS:
            try:
                up[name] = stack.enter_context(peer(name, engines))
            except (LookupError, TimeoutError) as error:
                missing.append(str(error))
        runs: dict[str, list[dict[str, Any]]] = {}
        for _ in range(min(rounds, 5)):
            for name, (port, pid, token) in up.items():
                for work in CONNECTIONS:
                    runs.setdefault(f"{name} {work}", []).append(_turn(tool, work, port, pid, token))
    return {"missing": missing} | {name: _summary(each) for name, each in runs.items()} | _ratios(runs)


def cpu_seconds(pid: int) -> float:
    """Of a process with its children, all threads, in nanoseconds' grain."""
    total = 0
    for process in tree(pid):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def _turn(tool: str, work: str, port: int, pid: int, token: str) -> dict[str, Any]:
    seconds = STREAM_SECONDS if work == "stream" else SECONDS
    before = cpu_seconds(pid)
    command = [tool, work, str(port), str(CONNECTIONS[work]), str(seconds), token]
    said: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    count = said["events"] if work == "stream" else said["done"]
    return said | {"cpu_s_per_1000": (cpu_seconds(pid) - before) / max(1, count) * 1000}


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    found = {key: round(statistics.median(run[key] for run in runs), 4) for key in ("cpu_s_per_1000", "p50_ms", "p99_ms")}
    return found | {"done": sum(run["done"] for run in runs), "errors": sum(run["errors"] for run in runs)}


def _ratios(runs: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Of each turn by itself, so that what the machine did to all of them falls out; the median."""
    found = {}
    for name, each in runs.items():
        other, work = name.split()
        if other != "stoker":
            own = runs[f"stoker {work}"]
            pairs = [mine["cpu_s_per_1000"] / its["cpu_s_per_1000"] for mine, its in zip(own, each, strict=True)]
            found[f"stoker / {other}, {work}"] = round(statistics.median(pairs), 2)
    return found
