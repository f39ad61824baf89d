"""From PUT of a spec to the assignment in the hands of the worker, on an idle platform.

Measured by the store's clock on one machine: from just before the PUT is sent to `started_at`, which the worker writes
after it has seen the assignment and its journal has granted it; and to `placed_at`, which the scheduler writes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from stoker.client import Client

from bench.stack import milliseconds, platform


def measure(rounds: int) -> dict[str, Any]:
    """`rounds` services, one after the other, each deleted before the next."""
    placed: list[float] = []
    started: list[float] = []
    with platform() as up:
        client = Client(up["url"], Path(up["admin_token_file"]).read_text().strip())
        for number in range(rounds):
            name = f"bench-{number}"
            spec = {"name": name, "model": "demo", "resources": {"cpu": 0.1, "memory": "64MiB"}}
            sent = time.time()
            client.put_service(name, spec)
            session = _started(client, name)
            placed.append(session["placed_at_seconds"] - sent)
            started.append(session["started_at_seconds"] - sent)
            client.delete_service(name, now=True)
            time.sleep(0.3)
    return {"PUT to placed by the scheduler": milliseconds(placed), "PUT to granted by the worker": milliseconds(started)}


def _started(client: Client, service: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for session in client.sessions():
            if session["service"] == service and session.get("started_at"):
                return {f"{k}_seconds": _seconds(session[k]) for k in ("placed_at", "started_at")}
        time.sleep(0.02)
    raise TimeoutError(f"{service} was not started within 20 s")


def _seconds(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
