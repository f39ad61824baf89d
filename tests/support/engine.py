"""A tiny engine for tests: `python engine.py --port P …`, standard library only, with delays and ways to misbehave."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """/health 200 (503 until `loaded`), /env the environment, /argv the command line, POST anything 200 (or --post STATUS)."""

    server: Engine

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200 if time.monotonic() >= self.server.loaded_at else 503, b"{}")
        elif self.path == "/env":
            self._answer(200, json.dumps(dict(os.environ)).encode())
        elif self.path == "/models":
            self._answer(200, json.dumps(sorted(os.listdir("/models")) if os.path.isdir("/models") else None).encode())
        else:
            self._answer(404, b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer(self.server.words.post, json.dumps({"authorization": self.headers.get("authorization")}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class Engine(ThreadingHTTPServer):
    """`loaded_at` is when /health turns good, on the monotonic clock."""

    daemon_threads = True

    def __init__(self, words: argparse.Namespace) -> None:
        self.words = words
        self.loaded_at = time.monotonic() + words.load
        super().__init__((words.host, words.port), Handler)


def main() -> None:
    words = parse()
    print(f"engine {os.getpid()} starts", flush=True)
    for number in range(words.lines):
        print(f"line {number}", flush=True)
    children(words)
    if words.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(words.delay)
    if words.exit is not None:
        print("I give up", file=sys.stderr, flush=True)
        sys.exit(words.exit)
    hog = bytearray(words.hog) if words.hog else b""
    for at in range(0, len(hog), 4096):
        hog[at] = 1  # type: ignore[index]
    engine = Engine(words)
    if words.note:
        Path(words.note).write_text(repr(engine.loaded_at))
    if words.exit_after is not None:
        threading.Timer(words.exit_after, os._exit, (0,)).start()
    if words.close_after is not None:
        threading.Timer(words.close_after, engine.socket.close).start()
    with contextlib.suppress(ValueError, OSError):
        engine.serve_forever(0.05)
    time.sleep(3600)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    for name in ("--delay", "--load"):
        parser.add_argument(name, type=float, default=0.0)
    for name in ("--exit-after", "--close-after"):
        parser.add_argument(name, type=float)
    for name in ("--exit", "--hog", "--lines", "--children"):
        parser.add_argument(name, type=int, default=None if name == "--exit" else 0)
    parser.add_argument("--post", type=int, default=200)
    parser.add_argument("--stubborn", action="store_true", help="ignores SIGTERM, and so do its children, in sessions of their own")
    parser.add_argument("--note", help="a file to write, once listening, with the monotonic time at which /health turns good")
    return parser.parse_args()


def children(words: argparse.Namespace) -> None:
    """Children that would outlive their parent, half of them in unix sessions of their own."""
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
    for number in range(words.children):
        subprocess.Popen([sys.executable, "-c", program], start_new_session=number % 2 == 1)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
