"""The demo engine's delays, limits and failures on demand, and how it ends: what load tests and rehearsals rely on."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import Running, demo_engine

MIB = 2**20


def test_failing_to_start_on_purpose() -> None:
    ended = subprocess.run([sys.executable, "-m", "model_variants.demo_engine", "--fail-start", "7"], capture_output=True, timeout=30)
    assert ended.returncode == 7


def test_loading_answers_503_until_it_is_done(tmp_path: Path) -> None:
    with demo_engine(tmp_path, "--load-delay", "1.5", status=503) as engine:
        assert engine.ask("POST", "/v1/completions", {"prompt": "x"})[0] == 503
        deadline = time.monotonic() + 20
        while engine.ask("GET", "/health")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert engine.ask("POST", "/v1/completions", {"prompt": "x"})[0] == 200


def test_delays_are_kept(tmp_path: Path) -> None:
    with demo_engine(tmp_path, "--ttft", "0.3", "--tpot", "0.05") as engine:
        began = time.monotonic()
        engine.ask("POST", "/v1/completions", {"prompt": "A session is", "max_tokens": 7, "ignore_eos": True})
        assert time.monotonic() - began >= 0.3 + 6 * 0.05


class Stream:
    """A completion's stream that is read line by line."""

    def __init__(self, engine: Running, **body: Any) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=30)
        request = {"prompt": "A session is", "max_tokens": 1000, "stream": True, "ignore_eos": True, **body}
        self.connection.request("POST", "/v1/completions", json.dumps(request))
        self.response = self.connection.getresponse()

    def close(self) -> None:
        """As a client that goes away in the middle."""
        self.response.close()
        self.connection.close()


def gauge(engine: Running, name: str) -> float:
    text = engine.ask("GET", "/metrics")[1].decode()
    return float(next(line for line in text.splitlines() if line.startswith(f"vllm:{name}{{")).rsplit(" ", 1)[1])


def wait_for(engine: Running, name: str, value: float) -> None:
    deadline = time.monotonic() + 20
    while gauge(engine, name) != value:
        assert time.monotonic() < deadline, f"{name} is {gauge(engine, name)}, not {value}"
        time.sleep(0.02)


def test_a_client_that_leaves_stops_the_work(tmp_path: Path) -> None:
    with demo_engine(tmp_path, "--tpot", "0.05") as engine:
        stream = Stream(engine)
        assert stream.response.status == 200 and stream.response.readline()
        wait_for(engine, "num_requests_running", 1)
        stream.close()
        wait_for(engine, "num_requests_running", 0)
        assert gauge(engine, "kv_cache_usage_perc") == 0


def test_who_exceeds_the_limit_waits_and_who_exceeds_the_queue_is_refused(tmp_path: Path) -> None:
    with demo_engine(tmp_path, "--max-concurrency", "1", "--queue-limit", "1", "--tpot", "0.05") as engine:
        first = Stream(engine)
        first.response.readline()
        waiting = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=30)
        waiting.request("POST", "/v1/completions", json.dumps({"prompt": "x", "max_tokens": 1}))
        wait_for(engine, "num_requests_waiting", 1)
        status, text = engine.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1})
        assert status == 503 and json.loads(text)["error"]["code"] == "queue_full"
        first.close()
        assert waiting.getresponse().status == 200
        waiting.close()
        wait_for(engine, "num_requests_running", 0)


def test_failures_on_demand(tmp_path: Path) -> None:
    with demo_engine(tmp_path, "--fail-rate", "1") as engine:
        assert engine.ask("POST", "/v1/completions", {"prompt": "x"})[0] == 500 and engine.ask("GET", "/health")[0] == 200
    with demo_engine(tmp_path, "--abort-stream-after", "3") as engine:
        stream = Stream(engine)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stream.response.read()
        stream.close()
    with demo_engine(tmp_path, "--crash-after-requests", "2") as engine:
        assert engine.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1})[0] == 200
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            engine.ask("POST", "/v1/completions", {"prompt": "x", "max_tokens": 5})
        assert engine.process.wait(20) == 1


def test_hanging_keeps_health(tmp_path: Path) -> None:
    with demo_engine(tmp_path, "--hang") as engine:
        connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=1)
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "x"}))
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()
        assert engine.ask("GET", "/health")[0] == 200


def test_it_grows_on_demand(tmp_path: Path) -> None:
    with demo_engine(tmp_path, "--oom", str(100 * MIB)) as engine:
        deadline = time.monotonic() + 20
        while engine.resident() < 120 * MIB:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_sigterm_lets_a_running_stream_finish(tmp_path: Path) -> None:
    with demo_engine(tmp_path, "--tpot", "0.03") as engine:
        stream = Stream(engine, max_tokens=30)
        stream.response.readline()
        engine.process.send_signal(signal.SIGTERM)
        text = stream.response.read().decode()
        assert text.endswith("data: [DONE]\n\n") and '"finish_reason":"length"' in text
        stream.close()
        assert engine.process.wait(20) in (0, -signal.SIGTERM)
