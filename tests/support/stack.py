"""A platform as a user has it: the command line started it, in a data directory of the test's own, on a free port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stoker.client import Client

STOKER = [sys.executable, "-m", "stoker.cli.main"]


class Stack:
    """`url`, the two tokens, a client with the admin's, and the processes' pids by role."""

    def __init__(self, up: dict[str, Any]) -> None:
        self.up = up
        self.url: str = up["url"]
        self.data_dir = Path(up["data_dir"])
        self.admin_token = Path(up["admin_token_file"]).read_text().strip()
        self.user_token = Path(up["user_token_file"]).read_text().strip()
        self.client = Client(self.url, self.admin_token)

    def stoker(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run one command against this platform."""
        environment = {**os.environ, "STOKER_DATA_DIR": str(self.data_dir), "NO_COLOR": "1"}
        result = subprocess.run([*STOKER, *words], capture_output=True, text=True, env=environment, timeout=120, **more)
        assert not check or result.returncode == 0, f"{words}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def pids(self, role: str) -> list[int]:
        """Processes of this platform: router, scheduler, worker, store, or engine (the sessions' own)."""
        return [pid for pid, words in _processes() if _plays(role, words, str(self.data_dir), pid)]

    def kill(self, role: str, number: int = signal.SIGKILL) -> int:
        """Signal one process of that role; its pid."""
        pid = self.pids(role)[0]
        os.kill(pid, number)
        return pid


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            yield int(entry.name), words


def _plays(role: str, words: list[str], data_dir: str, pid: int) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    ours = any(variable == f"STOKER_DATA_DIR={data_dir}" for variable in environment)
    if role == "engine":
        return any(v.startswith("STOKER_SESSION=") for v in environment) and any(data_dir in v for v in environment)
    if role == "store":
        return any(server in words[0] for server in ("valkey-server", "redis-server")) and any(
            data_dir in w for w in (*words, *environment)
        )
    return ours and words[1:3] == ["-m", role]


@contextmanager
def running(folder: Path, *flags: str, environment: dict[str, str] | None = None) -> Iterator[Stack]:
    """`stoker up -d`, then the stack, then `stoker down`."""
    found = subprocess.run(
        [*STOKER, "up", "-d", "--json", "--port", "0", "--data-dir", str(folder), *flags],
        capture_output=True, text=True, timeout=60, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    try:
        stack = Stack(json.loads(found.stdout))
        with stack.client:
            yield stack
    finally:
        subprocess.run([*STOKER, "down", "--data-dir", str(folder)], capture_output=True, timeout=120)


def eventually(condition: Callable[[], Any], seconds: float = 30, every: float = 0.05) -> Any:
    """The first true value of `condition`, asked again until it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        time.sleep(every)
