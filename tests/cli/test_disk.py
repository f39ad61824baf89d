"""A disk that fills up under a running platform: one sentence, nothing lost, and it heals once there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.errors import StokerError
from tests.support.stack import Stack, eventually, running


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(file: Path) -> None:
    with file.open("ab", buffering=0) as writer:
        try:
            while writer.write(b"x" * 65536):
                pass
        except OSError:
            return


@pytest.mark.timeout(180)
def test_a_disk_that_fills_up_is_named_and_heals(small: Path) -> None:
    with running(small / "data") as stack:
        stack.stoker("serve", "demo", "-d")
        said = eventually(lambda: _refused(stack), 20)
        assert said.returncode == 1 and "the disk of" in said.stderr and "is full" in said.stderr
        assert _chat(stack) == 0, "what serves goes on"
        (small / "ballast").unlink()
        eventually(lambda: _scaled(stack), 20)
        eventually(lambda: stack.client.service("demo")["replicas"] == {"wanted": 2, "ready": 2}, 30)


def _refused(stack: Stack) -> subprocess.CompletedProcess[str] | None:
    _fill(stack.data_dir.parent / "ballast")
    said = stack.stoker("token", "create", "--name", "x", check=False)
    return said if "full" in said.stderr else None


def _chat(stack: Stack) -> int:
    return stack.stoker("chat", "demo", input="hello\n", check=False).returncode


def _scaled(stack: Stack) -> bool:
    try:
        stack.client.scale("demo", 2)
    except StokerError:
        return False
    return True
