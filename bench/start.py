"""Start latency of the demo engine: from the PUT to READY, and from READY to the first streamed token."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.stack import milliseconds, platform
from stoker.client import Client


def measure(rounds: int) -> dict[str, Any]:
    """At most 20 rounds: each starts one engine."""
    ready: list[float] = []
    token: list[float] = []
    with platform() as up:
        secret = Path(up["admin_token_file"]).read_text().strip()
        client = Client(up["url"], secret)
        for number in range(min(rounds, 20)):
            name = f"bench-{number}"
            start = time.monotonic()
            client.put_service(name, {"name": name, "model": "demo"})
            while client.service(name)["status"] != "HEALTHY":
                if time.monotonic() - start > 60:
                    raise TimeoutError(f"{name} is not ready after 60 s")
                time.sleep(0.01)
            ready.append(time.monotonic() - start)
            token.append(_first_token(up["url"], secret, name))
            client.delete_service(name, now=True)
    return {"PUT to HEALTHY": milliseconds(ready), "request to first token": milliseconds(token)}


def _first_token(url: str, secret: str, model: str) -> float:
    body = json.dumps({"model": model, "stream": True, "max_tokens": 8, "messages": [{"role": "user", "content": "a session"}]})
    request = urllib.request.Request(f"{url}/v1/chat/completions", body.encode())
    request.add_header("authorization", f"Bearer {secret}")
    request.add_header("content-type", "application/json")
    start = time.monotonic()
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.readline()
        return time.monotonic() - start
