"""Jobs while every part of the platform is killed: none lost, none without an end, none committed twice."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.support.stack import Stack, eventually, running

ROLES = ("router.jobs", "engine", "router", "store", "router.jobs", "scheduler", "worker", "engine", "router.jobs", "store")
ENDED = {"succeeded", "failed", "cancelled", "expired"}
SPEC = """
name: chaos
model: demo
replicas: 2
options: {ttft: 0.1, tpot: 0.03, max_concurrency: 4}
"""


class Kill(NamedTuple):
    role: str
    at: float


class Done(NamedTuple):
    """One job at the end: its record and the events of its log, (kind, data)."""

    job: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]


def ask(stack: Stack, http: httpx2.Client, method: str, path: str, **more: Any) -> httpx2.Response:
    """An answer below 500, however often the router and the store go away meanwhile."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = http.request(method, stack.url + path, **more)
            if answer.status_code < 500:
                return answer
        except httpx2.TransportError:
            pass
        assert time.monotonic() < deadline, f"{method} {path} is not answered"
        time.sleep(0.1)


def submit(stack: Stack, http: httpx2.Client, number: int) -> str:
    body = {"messages": [{"role": "user", "content": f"job {number}"}], "max_tokens": 4 + number % 17, "stream": number % 3 == 0}
    words = {"service": "chaos", "body": body, "priority": number % 5}
    answer = ask(stack, http, "POST", "/v1/jobs", json=words, headers={"idempotency-key": f"chaos-{number}"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def read(stack: Stack, http: httpx2.Client, id: str) -> Done:
    job = ask(stack, http, "GET", f"/v1/jobs/{id}").json()
    text = ask(stack, http, "GET", f"/v1/jobs/{id}/events?follow=false").text
    return Done(job, list(events_of(text)))


def events_of(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for block in text.split("\n\n"):
        words = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "id" in words:
            yield words["event"], json.loads(words["data"])


def kill_on(stack: Stack, kills: int, pause: float, told: list[Kill], stop: threading.Event, seed: int) -> None:
    drawn = random.Random(seed)
    for number in range(kills):
        if stop.wait(pause * drawn.uniform(0.7, 1.3)):
            return
        role = ROLES[number % len(ROLES)]
        pids = stack.pids(role)
        if pids:
            os.kill(drawn.choice(pids), signal.SIGKILL)
            told.append(Kill(role, time.time()))


def chaos(folder: Path, jobs: int, kills: int, pause: float, seed: int = 7) -> tuple[list[Done], list[Kill]]:
    told: list[Kill] = []
    with running(folder) as stack:
        (folder / "chaos.yaml").write_text(SPEC)
        stack.stoker("apply", "-f", str(folder / "chaos.yaml"), "--wait", "--timeout", "60")
        headers = {"authorization": f"Bearer {stack.user_token}"}
        stop = threading.Event()
        killer = threading.Thread(target=kill_on, args=(stack, kills, pause, told, stop, seed))
        with httpx2.Client(headers=headers, timeout=30) as http, ThreadPoolExecutor(8) as pool:
            killer.start()
            try:
                ids = list(pool.map(lambda number: submit(stack, http, number), range(jobs)))
                assert len(set(ids)) == jobs
                killer.join()
                left = set(ids)

                def all_ended() -> bool:
                    for id in [*left]:
                        if ask(stack, http, "GET", f"/v1/jobs/{id}").json()["status"] not in ENDED:
                            return False
                        left.discard(id)
                    return True

                eventually(all_ended, 60 + jobs / 20, every=0.2)
            finally:
                stop.set()
                killer.join()
            return list(pool.map(lambda id: read(stack, http, id), ids)), told


def rerun_seconds(done: list[Done], kills: list[Kill]) -> list[float]:
    """From each death of a runner to the next start of each job that it had."""
    found = []
    for kill in (k for k in kills if k.role == "router.jobs"):
        for one in done:
            starts = [data["time"] for kind, data in one.events if kind == "status" and data["status"] == "running"]
            before, after = [t for t in starts if t < kill.at], [t for t in starts if t >= kill.at]
            finished = datetime.fromisoformat(one.job["finished_at"]).timestamp()
            backs = [data["time"] for kind, data in one.events if kind == "status" and data["status"] == "queued"]
            if before and after and finished > kill.at and not any(before[-1] < t < kill.at for t in backs):
                found.append(after[0] - kill.at)
    return found


def check(done: list[Done], kills: list[Kill]) -> None:
    by_status: dict[str, int] = {}
    for one in done:
        by_status[one.job["status"]] = by_status.get(one.job["status"], 0) + 1
        kinds = [kind for kind, _ in one.events]
        assert kinds.count("done") == 1 and kinds[-1] == "done", f"one end, and nothing behind it: {one}"
    again = rerun_seconds(done, kills)
    middle = statistics.median(again) if again else 0.0
    tries = sum(one.job["attempts"] for one in done)
    print(f"\n{len(done)} jobs, {len(kills)} kills: {by_status}, {tries} tries")
    print(f"{len(again)} were run again {middle:.2f} s (the middle one) after their runner's death, {max(again, default=0):.2f} s at most")
    assert set(by_status) <= {"succeeded", "failed"}
    poisoned = [one for one in done if one.job["status"] == "failed"]
    assert all(one.job["reason"]["code"] == "poisoned" for one in poisoned) and len(poisoned) <= len(done) * 0.02, poisoned
    assert middle <= 4.5, f"jobs of a dead runner wait for {middle:.1f} s"


@pytest.mark.timeout(180)
def test_three_hundred_jobs_outlive_ten_kills(tmp_path: Path) -> None:
    done, kills = chaos(tmp_path, jobs=300, kills=10, pause=1.5)
    assert len(done) == 300 and len(kills) >= 9
    check(done, kills)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_jobs_outlive_three_hundred_kills(tmp_path: Path) -> None:
    done, kills = chaos(tmp_path, jobs=10_000, kills=300, pause=1.5)
    assert len(done) == 10_000 and len(kills) >= 280
    check(done, kills)
