"""Write the pins anew: requirements.lock (hashes, for pip and images) and [tool.uv] constraint-dependencies.

`python scripts/lock.py` resolves the newest versions that fit pyproject.toml; a test holds the two files together.
No index address is written anywhere.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def main() -> None:
    """Resolve, then rewrite both files."""
    lock = ROOT / "requirements.lock"
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-emit-index-url"]
    command += ["--no-emit-find-links", "--group", "dev", "--no-config", "pyproject.toml", "-o", str(lock)]
    subprocess.run(command, cwd=ROOT, check=True)
    pins = sorted(f"{name}=={version}" for name, version in PIN.findall(lock.read_text()))
    listing = "constraint-dependencies = [\n" + "".join(f'    "{pin}",\n' for pin in pins) + "]\n"
    project = ROOT / "pyproject.toml"
    text = project.read_text()
    text = re.sub(r"constraint-dependencies = \[\n.*?\n\]\n", lambda _: listing, text, flags=re.DOTALL)
    tomllib.loads(text)
    project.write_text(text)


if __name__ == "__main__":
    main()
