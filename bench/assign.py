"""From PUT of a spec to the assignment in the hands of the worker, on an idle platform.

Measured on one machine by one clock: from just before the PUT is sent to the moment a follower of the change feed sees the
session PLACED (the worker is such a follower, the bench is another one), and to `started_at`, which the worker writes
once its journal has granted the assignment and synced it to disk. Each write of the store costs a disk's fsync, so the
fsync of the same disk is measured in the same run.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.stack import milliseconds, platform
from stoker.client import Client
from stoker.settings import Settings
from stoker.store.store import Store


def measure(rounds: int) -> dict[str, Any]:
    """`rounds` services, one after the other, each deleted before the next."""
    with platform() as up, Client(up["url"], Path(up["admin_token_file"]).read_text().strip()) as client:
        seen, started = asyncio.run(_rounds(client, Settings(data_dir=Path(up["data_dir"])), rounds))
    disk = [_fsync() for _ in range(50)]
    return {
        "PUT to the worker's mirror": milliseconds(seen),
        "PUT to granted and synced by the worker": milliseconds(started),
        "one fdatasync of this disk": milliseconds(disk),
    }


async def _rounds(client: Client, settings: Settings, rounds: int) -> tuple[list[float], list[float]]:
    store = await Store.open(settings.store_url(), settings.cluster)
    mirror = store.mirror("session")
    await mirror.open()
    placed: dict[str, asyncio.Future[float]] = {}

    def look(kind: str, id: str, record: Any) -> None:
        if record is not None and record.status == "PLACED" and record.service in placed and not placed[record.service].done():
            placed[record.service].set_result(time.time())

    mirror.listen(look)
    follower = asyncio.create_task(mirror.follow())
    seen, started = [], []
    for number in range(rounds):
        name = f"bench-{number}"
        placed[name] = asyncio.get_running_loop().create_future()
        sent = time.time()
        put = asyncio.create_task(asyncio.to_thread(client.put_service, name, {"name": name, "model": "demo"}))
        seen.append(await asyncio.wait_for(placed[name], 20) - sent)
        await put
        started.append(await asyncio.to_thread(_started, client, name) - sent)
        await asyncio.to_thread(client.delete_service, name, now=True)
        await asyncio.sleep(0.5)
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    await store.close()
    return seen, started


def _started(client: Client, service: str) -> float:
    """The session's `started_at`, in seconds since the epoch."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for session in client.sessions(service):
            if session.get("started_at"):
                return datetime.fromisoformat(session["started_at"].replace("Z", "+00:00")).timestamp()
        time.sleep(0.05)
    raise TimeoutError(f"{service} was not started within 20 s")


def _fsync() -> float:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x" * 500)
        file.flush()
        start = time.perf_counter()
        os.fdatasync(file.fileno())
        return time.perf_counter() - start
