"""An engine as a process of the test's own: started by its launch command, waited for, ended."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec


class Running:
    """`url` of the engine, its process, how long it took to answer, and the file that holds its log."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path, seconds: float) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.seconds = seconds
        self.url = f"http://127.0.0.1:{port}"

    def resident(self) -> int:
        """Bytes of memory, at most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024

    def ask(self, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, bytes]:
        """One request on a connection of its own: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", "Connection": "close"} | ({"Authorization": f"Bearer {key}"} if key else {})
        try:
            connection.request(method, path, None if body is None else msgspec.json.encode(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(port: int, path: str, expected: int = 200) -> bool:
    """Whether a GET of `path` gives `expected` now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == expected
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def started(
    argv: list[str],
    port: int,
    log: Path,
    *,
    env: dict[str, str] | None = None,
    health: str = "/health",
    seconds: float = 30,
    status: int = 200,
) -> Iterator[Running]:
    """The process once `health` answers `status`; killed at the end where it still lives."""
    with log.open("wb") as file:
        began = time.monotonic()
        process = subprocess.Popen(argv, stdout=file, stderr=file, env={**os.environ, **(env or {})}, start_new_session=True)
    try:
        while not answers(port, health, status):
            assert process.poll() is None, f"it ended with {process.returncode}: {log.read_text(errors='replace')[-2000:]}"
            assert time.monotonic() - began < seconds, f"not ready in {seconds} s: {log.read_text(errors='replace')[-2000:]}"
            time.sleep(0.01)
        yield Running(process, port, log, time.monotonic() - began)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@contextmanager
def demo_engine(folder: Path, *flags: str, key: str | None = None, **more: object) -> Iterator[Running]:
    """The demo engine with `flags`, under the names demo and other."""
    port = free_port()
    argv = [sys.executable, "-m", "model_variants.demo_engine", "--port", str(port), "--model-name", "demo", "other", *flags]
    with started(argv, port, folder / f"engine-{port}.log", env={"DEMO_API_KEY": key or ""}, **more) as running:  # type: ignore[arg-type]
        yield running
