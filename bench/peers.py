"""The proxies that are measured side by side, each in front of the same engines, started and ended here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stoker.records import Assignment, Resolution, ServiceRecord, SessionRecord, TokenRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus
from stoker.store.embedded import find_server
from stoker.store.store import Store
from stoker.tokens import mint

NGINX = """worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err warn; worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 1000000; client_body_buffer_size 128k;
  upstream engines {{ least_conn; {servers} keepalive 512; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
    proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}"""

PEERS_FOLDER = "STOKER_BENCH_PEERS"
"""Names the bin folder of an environment with vllm-router and sglang-router; without it they are looked for on PATH."""

LEVEL = {"vllm-router": "warning", "sglang-router": "warn"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until something listens there; raises TimeoutError."""
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"{process.args!r} does not listen on port {port}")


@contextlib.contextmanager
def running(command: list[str], port: int, **environment: str) -> Iterator[int]:
    """A server's process while it runs; its pid."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environment)
    try:
        await_port(port, process)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def peer(name: str, engines: list[int]) -> Iterator[tuple[int, int, str]]:
    """(port, pid, token) of a proxy by its name; raises LookupError where it is not installed."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as text:
        if name == "stoker":
            with stoker(Path(text), engines, port) as found:
                yield found
            return
        if name == "nginx":
            servers = " ".join(f"server 127.0.0.1:{engine};" for engine in engines)
            Path(text, "nginx.conf").write_text(NGINX.format(folder=text, port=port, servers=servers))
            command = [_installed("nginx"), "-p", text, "-c", f"{text}/nginx.conf"]
        else:
            command = [*_rust(name), "--port", str(port), "--host", "127.0.0.1", "--policy", "round_robin", "--worker-urls"]
            command += [f"http://127.0.0.1:{engine}" for engine in engines] + [
                "--prometheus-port",
                str(free_port()),
                "--log-level",
                LEVEL[name],
            ]
        with running(command, port) as pid:
            yield port, pid, "none"


def _installed(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join((os.environ.get(PEERS_FOLDER, ""), os.environ["PATH"])))
    if found is None:
        raise LookupError(f"{name} is not installed")
    return found


def _rust(name: str) -> list[str]:
    if name == "vllm-router":
        return [_installed(name)]
    return [str(Path(_installed(name)).with_name("python")), "-m", "sglang_router.launch_router"]


@contextlib.contextmanager
def stoker(folder: Path, engines: list[int], port: int) -> Iterator[tuple[int, int, str]]:
    """A router with a store, a service `bench` and a session per engine; no scheduler, so that nothing else happens."""
    command = [find_server(), "--port", "0", "--unixsocket", f"{folder}/redis.sock", "--save", "", "--dir", str(folder)]
    store = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"unix://{folder}/redis.sock"
    try:
        token = asyncio.run(fill(url, engines))
        settings = {"STOKER_REDIS_URL": url, "STOKER_DATA_DIR": str(folder), "STOKER_PORT": str(port), "STOKER_LOG_FORMAT": "text"}
        with running([sys.executable, "-m", "router"], port, **settings) as pid:
            yield port, pid, token
    finally:
        store.terminate()
        store.wait()


async def fill(url: str, engines: list[int]) -> str:
    """Write what the router routes by; a user's token."""
    await _connected(url)
    store = await Store.open(url, "main")
    epoch = (await store.leadership.claim("bench", 600)).epoch
    spec = ServiceSpec.from_json({"name": "bench", "model": "demo", "routing": {"max_concurrency": 100_000}})
    record = ServiceRecord(name="bench", project="default", owner="bench", spec=spec.to_json())
    await store.services.put(record, model_names=("bench",), new_revision=True, refresh=True, expect_version=None, actor="bench")
    resolution = Resolution(variant="demo", why="", runtime="process", model_names=("bench",))
    for number, engine in enumerate(engines):
        session = SessionRecord(id=f"bench-{number}", service="bench", project="default", revision=1, status=SessionStatus.PENDING)
        await store.sessions.create(session, epoch=epoch)
        await store.sessions.place(session, "bench", Assignment(revision=1, resolution=resolution, spec={}), epoch=epoch)
        await store.sessions.start(session, node="bench")
        await store.sessions.ready(session, f"127.0.0.1:{engine}", node="bench")
    minted = mint()
    await store.tokens.put(TokenRecord(id=minted.id, hash=minted.hash, name="bench", role="user"))
    await store.close()
    return minted.token


async def _connected(url: str) -> None:
    path = Path(url.removeprefix("unix://"))
    until = time.monotonic() + 10
    while not path.exists() and time.monotonic() < until:
        await asyncio.sleep(0.02)
