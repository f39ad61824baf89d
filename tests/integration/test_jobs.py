"""Jobs as a user has them: from the command line, through the real platform."""

from __future__ import annotations

import json
import re
import statistics
from datetime import datetime
from pathlib import Path

import httpx2
import pytest

from tests.support.stack import Stack, eventually, running

BODY = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
ROOT = Path(__file__).resolve().parents[2]


def test_a_job_from_the_command_line(demo: Stack) -> None:
    said = json.loads(demo.stoker("job", "submit", "demo", "-d", json.dumps(BODY), "--wait").stdout)
    assert said["object"] == "chat.completion"
    id = demo.stoker("job", "submit", "demo", "-d", "-", input=json.dumps({**BODY, "stream": True})).stdout.strip()
    assert demo.stoker("job", "result", id, "--wait").stdout.rstrip().endswith("data: [DONE]")
    lines = demo.stoker("job", "events", id).stdout.splitlines()
    assert [line.split(" ")[0] for line in lines] == [str(number + 1) for number in range(len(lines))]
    assert {line.split(" ")[1] for line in lines} == {"status", "chunk", "done"}
    listed = json.loads(demo.stoker("job", "ls", "--json").stdout)["items"]
    assert listed[0]["id"] == id and listed[0]["status"] == "succeeded"
    assert f"{id}" in demo.stoker("job", "info", id).stdout and "succeeded" in demo.stoker("job", "cancel", id).stdout
    again = demo.stoker("job", "retry", id).stdout.strip()
    assert json.loads(demo.stoker("job", "info", again, "--json").stdout)["retry_of"] == id
    assert demo.stoker("job", "webhook-secret").stdout.startswith("whsec_")
    assert demo.stoker("job", "info", "job_x", check=False).returncode == 3
    assert demo.stoker("job", "submit", "nobody", "-d", "{}", check=False).returncode == 3
    assert demo.stoker("job", "submit", "demo", "-d", "{", check=False).returncode == 2


def test_a_new_job_on_an_idle_platform_is_begun_at_once(demo: Stack) -> None:
    waits = []
    with httpx2.Client(base_url=demo.url, headers={"authorization": f"Bearer {demo.user_token}"}, timeout=70) as http:
        for _ in range(30):
            id = http.post("/v1/jobs", json={"service": "demo", "body": BODY}).json()["id"]
            job = http.get(f"/v1/jobs/{id}", params={"wait": 30}).json()
            waits.append(1000 * (datetime.fromisoformat(job["started_at"]) - datetime.fromisoformat(job["created_at"])).total_seconds())
    print(f"\npick-up p50 {statistics.median(waits):.1f} ms, max {max(waits):.1f} ms")
    assert statistics.median(waits) < 300, "a poll of arq would take 500"


@pytest.mark.timeout(120)
def test_jobs_wake_a_service_that_sleeps(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        (tmp_path / "s.yaml").write_text("{name: sleeper, model: demo, replicas: {min: 0, max: 1}}")
        stack.stoker("apply", "-f", str(tmp_path / "s.yaml"))
        eventually(lambda: stack.client.service("sleeper")["status"] == "IDLE")
        assert "chat.completion" in stack.stoker("job", "submit", "sleeper", "-d", json.dumps(BODY), "--wait").stdout


def test_the_signature_is_verified_as_the_page_says() -> None:
    from router.jobs.signing import headers
    from stoker.keyring import webhook_secret

    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/jobs.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)  # the page's own words
    secret = webhook_secret(b"k" * 32, "default")
    signed = headers(secret, "msg_1", 1_700_000_000, b"{}")
    assert names["is_ours"](secret, signed, b"{}") and not names["is_ours"](secret, signed, b"{ }")  # type: ignore[operator]
