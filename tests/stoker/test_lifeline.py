"""A service notices that the process it belongs to is gone, however it went."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from stoker.lifeline import VARIABLE, watch


async def test_the_end_of_the_pipe_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setenv(VARIABLE, str(read))
    ended: asyncio.Queue[str] = asyncio.Queue()
    watch(lambda: ended.put_nowait("gone"))
    assert VARIABLE not in os.environ, "what this service starts has no part in it"
    assert not os.get_inheritable(read)
    os.write(write, b"x")
    await asyncio.sleep(0.05)
    assert ended.empty()
    os.close(write)
    assert await asyncio.wait_for(ended.get(), 20) == "gone"
    await asyncio.sleep(0.05)
    assert ended.empty()
    with pytest.raises(OSError):
        os.fstat(read)


async def test_a_service_on_its_own_watches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    watch(lambda: pytest.fail("there is no parent"))
    await asyncio.sleep(0)


PARENT = """
import os, subprocess, sys
read, write = os.pipe()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], pass_fds=(read,), env={**os.environ, "STOKER_LIFELINE_FD": str(read)})
os.close(read)
child.wait()
"""
CHILD = """
import asyncio
from stoker.lifeline import watch
async def main():
    ended = asyncio.Event()
    watch(ended.set)
    print("watching", flush=True)
    await ended.wait()
    print("ended", flush=True)
asyncio.run(main())
"""


def test_a_parent_that_is_killed_is_noticed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "watching\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert parent.stdout.readline() == "ended\n"
    parent.stdout.close()
