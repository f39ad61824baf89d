"""What the engine is told on its command line: where it listens, what it learns, and how it should misbehave."""

from __future__ import annotations

import argparse
import os

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Delays in seconds, memory in bytes. `api_key` comes by environment only: a command line can be read by anybody."""

    host: str = "127.0.0.1"
    port: int = 8000
    model_names: tuple[str, ...] = ("demo",)
    api_key: str | None = None
    text: str | None = None
    context_length: int = 4096
    start_delay: float = 0.0
    load_delay: float = 0.0
    ttft: float = 0.0
    tpot: float = 0.0
    jitter: float = 0.0
    max_concurrency: int = 0
    queue_limit: int = 1000
    fail_start: int | None = None
    fail_rate: float = 0.0
    crash_after_requests: int | None = None
    hang: bool = False
    abort_stream_after: int | None = None
    oom: int | None = None


def parse(words: list[str]) -> Settings:
    """Exits with code 2 and a sentence where the words are wrong."""
    parser = argparse.ArgumentParser(prog="python -m model_variants.demo_engine", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model-name", nargs="+", default=["demo"], metavar="N", help="names that a request's model may have")
    parser.add_argument("--text", metavar="FOLDER", help="plain text to learn from; default: Stoker's documentation")
    parser.add_argument("--context-length", type=int, default=4096, metavar="TOKENS")
    for flag, what in (
        ("--start-delay", "before the port opens"),
        ("--load-delay", "the port is open, /health answers 503"),
        ("--ttft", "before the first token of an answer"),
        ("--tpot", "before each further token"),
    ):
        parser.add_argument(flag, type=float, default=0.0, metavar="SECONDS", help=what)
    parser.add_argument("--jitter", type=float, default=0.0, metavar="PART", help="0 to 1: the part of ttft and tpot that varies")
    parser.add_argument("--max-concurrency", type=int, default=0, metavar="N", help="requests answered at once; 0: no limit")
    parser.add_argument("--queue-limit", type=int, default=1000, metavar="N", help="requests that wait; more get 503")
    parser.add_argument("--fail-start", type=int, metavar="CODE", help="exit with CODE instead of starting")
    parser.add_argument("--fail-rate", type=float, default=0.0, metavar="PART", help="0 to 1: requests that get 500")
    parser.add_argument("--crash-after-requests", type=int, metavar="N", help="exit with code 1 in the middle of request N")
    parser.add_argument("--hang", action="store_true", help="accept requests and never answer them")
    parser.add_argument("--abort-stream-after", type=int, metavar="TOKENS", help="cut each stream's connection after so many tokens")
    parser.add_argument("--oom", type=int, metavar="BYTES", help="allocate so much memory after the start")
    found = vars(parser.parse_args(words))
    names = tuple(found.pop("model_name"))
    return Settings(model_names=names, api_key=os.environ.get("DEMO_API_KEY") or None, **found)
