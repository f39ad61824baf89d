"""Scale to zero, and the first requests that wake it."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path

import httpx2
import pytest

from tests.support.stack import eventually, running


@pytest.mark.timeout(180)
def test_two_hundred_requests_to_a_sleeping_service_are_one_start_and_two_hundred_answers(tmp_path: Path) -> None:
    spec = """
name: sleeper
model: demo
options: {start_delay: 1.5}
replicas: {min: 0, max: 1}
autoscaling: {idle_seconds: 2}
"""
    with running(tmp_path) as stack:
        (tmp_path / "sleeper.yaml").write_text(spec)
        stack.stoker("apply", "-f", str(tmp_path / "sleeper.yaml"))
        eventually(lambda: stack.client.service("sleeper")["status"] == "IDLE")

        limits = httpx2.Limits(max_connections=200)
        headers = {"authorization": f"Bearer {stack.user_token}"}
        body = {"model": "sleeper", "max_tokens": 2, "messages": [{"role": "user", "content": "wake up"}]}
        with (
            httpx2.Client(base_url=stack.url, headers=headers, limits=limits, timeout=90) as http,
            concurrent.futures.ThreadPoolExecutor(200) as pool,
        ):
            answers = list(pool.map(lambda _: http.post("/v1/chat/completions", json=body), range(200)))
        assert {answer.status_code for answer in answers} == {200}
        assert all(int(answer.headers["x-stoker-queued-ms"]) > 0 for answer in answers)
        assert len([s for s in stack.client.sessions() if s["service"] == "sleeper"]) == 1

        eventually(lambda: stack.client.service("sleeper")["status"] == "IDLE", 30)
        eventually(lambda: stack.pids("engine") == [], 15)
