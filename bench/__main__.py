"""`python -m bench start|assign|idle|facts|router [--rounds N] [--json]`: run one measurement against a platform of its own."""

from __future__ import annotations

import argparse
import importlib
import json
import platform as machine
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEASUREMENTS = {
    "start": "start latency: spec to session, session to first token",
    "assign": "PUT of a spec to the assignment in the hands of the worker",
    "idle": "CPU and memory of an idle platform, sessions apart",
    "facts": "reading a model's facts: with an index, and from the headers of 100 shards",
    "router": "CPU per 1,000 requests and events, beside nginx and the Rust routers",
}


def commit() -> str:
    """The commit that is measured, with a + where the tree is changed."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return head + ("+" if dirty else "")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", choices=MEASUREMENTS, help="; ".join(f"{k}: {v}" for k, v in MEASUREMENTS.items()))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = importlib.import_module(f"bench.{arguments.what}").measure(arguments.rounds)
    context = {"what": arguments.what, "date": time.strftime("%Y-%m-%d"), "commit": commit(), "python": machine.python_version()}
    if arguments.json:
        print(json.dumps(context | figures, indent=2))
        return
    print(", ".join(f"{k} {v}" for k, v in context.items()))
    for name, value in figures.items():
        print(f"  {name:42} {value}")


if __name__ == "__main__":
    main()
