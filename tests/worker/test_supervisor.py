"""The supervisor by itself: what it keeps, what it kills, and how little it needs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.worker_node import processes_of, remove_cgroups
from worker.runtimes.base import CannotStart, Ending, Job, Running
from worker.runtimes.process import ProcessRuntime

PYTHON = sys.executable


class Rig(ProcessRuntime):
    """A runtime in a test's directory, and a short way to start a Python program in it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, f"test{os.getpid()}", user=None, log_limit=20_000, log_files=3)
        self.root = root

    async def python(self, program: str, *, id: str = "svc-aaaaa", **more: object) -> Running:
        env = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
        return await self.start(Job(session=id, argv=(PYTHON, "-c", program), env=env, **more))  # type: ignore[arg-type]

    def lines(self, id: str = "svc-aaaaa", name: str = "log") -> list[str]:
        return (self.root / id / name).read_text().splitlines()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path / "sessions")
    yield made
    for pid in processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)
    remove_cgroups(tmp_path)


async def ended(rig: Rig, id: str = "svc-aaaaa") -> Ending:
    async with asyncio.timeout(20):
        return await rig.ended(id)


async def until_logged(rig: Rig, words: str) -> None:
    async with asyncio.timeout(20):
        while not (rig.root / "svc-aaaaa" / "log").exists() or not any(words in line for line in rig.lines()):
            await asyncio.sleep(0.01)


async def test_output_of_both_kinds_is_kept_with_the_time_before_each_line(rig: Rig) -> None:
    await rig.python("import sys; print('out'); print('error', file=sys.stderr); print('no end', end='')")
    ending = await ended(rig)
    assert (ending.code, ending.signal, ending.asked, ending.oom) == (0, None, False, False)
    assert ending.started_at <= ending.ended_at <= time.time()
    found = [re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (.*)", line) for line in rig.lines()]
    assert all(found) and [match[2] for match in found if match] == ["out", "error", "no end"]


async def test_code_and_signal_are_told_apart(rig: Rig) -> None:
    await rig.python("raise SystemExit(7)")
    assert (await ended(rig)).code == 7
    await rig.python("import os; os.kill(os.getpid(), 11)", id="svc-bbbbb")
    crashed = await ended(rig, "svc-bbbbb")
    assert (crashed.code, crashed.signal) == (None, 11)


async def test_a_polite_engine_is_asked_and_a_stubborn_one_is_killed_after_its_grace(rig: Rig) -> None:
    await rig.python("import signal, time; signal.signal(15, lambda *_: exit(5)); print('up'); time.sleep(60)")
    await until_logged(rig, "up")
    await rig.stop("svc-aaaaa")
    polite = await ended(rig)
    assert (polite.code, polite.asked, polite.killed) == (5, True, False)
    program = (
        "import signal, time; [signal.signal(n, lambda n, _: print('got', n)) for n in (2, 15)]; print('up')\nwhile True: time.sleep(1)"
    )
    await rig.python(program, id="svc-bbbbb", stop_signals=(2, 15), stop_grace=0.3)
    await asyncio.sleep(0.5)
    began = time.monotonic()
    await rig.stop("svc-bbbbb")
    stubborn = await ended(rig, "svc-bbbbb")
    assert (stubborn.signal, stubborn.asked, stubborn.killed) == (9, True, True)
    assert time.monotonic() - began >= 0.6, "two signals, each with its grace"
    assert [line.split(" ", 1)[1] for line in rig.lines("svc-bbbbb")] == ["up", "got 2", "got 15"]


async def test_whatever_the_engine_leaves_behind_is_gone_before_it_counts_as_ended(rig: Rig) -> None:
    """Children in other groups, other sessions, daemons that forked twice, all deaf to SIGTERM."""
    program = """
import os, signal, time
signal.signal(15, signal.SIG_IGN)
for number in range(6):
    if os.fork() == 0:
        if number % 2: os.setsid()
        if number % 3 == 0 and os.fork(): os._exit(0)
        os.environ.clear()
        time.sleep(600)
print('up'); time.sleep(0.2)
"""
    await rig.python(program)
    await until_logged(rig, "up")
    pids = rig.pids("svc-aaaaa")
    assert len(pids) >= 6
    await ended(rig)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


async def test_an_engine_does_not_outlive_its_supervisor_even_when_no_worker_looks(rig: Rig) -> None:
    running = await rig.python("import time; print('up'); time.sleep(60)")
    await until_logged(rig, "up")
    supervisor = next(pid for pid in processes_of(rig.root) if b"supervise.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(supervisor, signal.SIGKILL)
    async with asyncio.timeout(20):
        while running.pid in processes_of(rig.root):
            await asyncio.sleep(0.01)
    assert (await ended(rig)).orphaned


async def test_an_engines_own_directory_goes_with_it_and_its_log_stays(rig: Rig) -> None:
    await rig.python("open('large', 'w').write('x'); print('done')")
    await ended(rig)
    assert not (rig.folder("svc-aaaaa") / "work").exists() and len(rig.lines()) == 1
    await rig.remove("svc-aaaaa")
    assert rig.sessions() == []


async def test_the_log_is_rotated_and_bounded(rig: Rig) -> None:
    await rig.python("for n in range(3000): print('x' * 50, n)\nprint('y' * 50_000)")
    await ended(rig)
    files = {path.name: path.stat().st_size for path in (rig.root / "svc-aaaaa").glob("log*")}
    assert set(files) == {"log", "log.1", "log.2"} and all(size <= 20_000 for size in files.values()), files
    last = "".join(line.split(" ", 1)[1] for name in ("log.2", "log.1", "log") for line in rig.lines(name=name) if line.endswith("y"))
    assert last == "y" * 50_000, "a long line is broken, not lost"


async def test_a_progress_bar_does_not_wait_for_its_end(rig: Rig) -> None:
    await rig.python("import sys, time; sys.stdout.write('10%\\r20%'); sys.stdout.flush(); time.sleep(60)")
    await until_logged(rig, "20%")
    assert [line.split(" ", 1)[1] for line in rig.lines()] == ["10%", "20%"]


async def test_a_supervisor_is_small_and_keeps_no_secret(rig: Rig) -> None:
    env = {"PATH": os.environ["PATH"], "API_KEY": "sk-session-very-secret"}
    await rig.start(Job(session="svc-aaaaa", argv=(PYTHON, "-c", "import os, time; os.environ['API_KEY']; time.sleep(60)"), env=env))
    supervisor = next(pid for pid in processes_of(rig.root) if b"supervise.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
    resident = next(line for line in Path(f"/proc/{supervisor}/status").read_text().splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < 10 * 1024, resident
    seen = b"".join(Path(f"/proc/{supervisor}/{name}").read_bytes() for name in ("cmdline", "environ"))
    seen += b"".join(path.read_bytes() for path in rig.root.rglob("*") if path.is_file())
    assert b"very-secret" not in seen


async def test_an_order_that_breaks_off_starts_nothing(rig: Rig, tmp_path: Path) -> None:
    from worker.runtimes import process

    folder = tmp_path / "broken"
    folder.mkdir()
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    command = [PYTHON, "-I", "-S", str(Path(process.__file__).with_name("supervise.py")), str(folder), str(lock)]
    done = subprocess.run(command, input=b"argv=touch\0argv=" + str(folder / "made").encode() + b"\0", pass_fds=(lock,), timeout=20)
    os.close(lock)
    assert done.returncode == 0 and sorted(path.name for path in folder.iterdir()) == ["lock"]


async def test_a_second_start_of_a_running_session_is_refused(rig: Rig) -> None:
    await rig.python("import time; time.sleep(60)")
    with pytest.raises(CannotStart, match="runs already"):
        await rig.python("print('twice')")


async def test_what_cannot_be_executed_is_said(rig: Rig, tmp_path: Path) -> None:
    text = tmp_path / "plain"
    text.write_text("no program")
    await rig.start(Job(session="svc-aaaaa", argv=(str(text),), env={}))
    assert (await ended(rig)).error == f"cannot start {text}: Permission denied"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
async def test_a_full_disk_refuses_the_start_and_loses_log_lines_but_not_the_ending(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=True)
    try:
        rig = Rig(disk / "sessions")
        program = "import os, time\nfor n in range(20_000): os.write(1, b'x' * 80 + b'\\n')\nraise SystemExit(3)"
        rig._log_limit = 10 * 2**20
        await rig.python(program)
        ending = await ended(rig)
        assert ending.code == 3, "the room for exit.json was kept"
        with pytest.raises(CannotStart) as full:
            await rig.python("print('no room')", id="svc-bbbbb")
        assert full.value.reason.code == "disk_full", full.value.reason
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs mount namespaces")
async def test_the_model_folder_is_at_models_for_this_session_alone(rig: Rig, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("")
    place = Path("/models")
    made = not place.exists()
    place.mkdir(exist_ok=True)
    try:
        program = "import os\nprint(os.listdir('/models'))\ntry: open('/models/new', 'w')\nexcept OSError as e: print(e.strerror)"
        await rig.python(program, model_folder=str(folder))
        await ended(rig)
        said = [line.split(" ", 1)[1] for line in rig.lines()]
        if said[0] == "[]":
            pytest.skip("this system allows no private mounts")
        assert said == ["['weights']", "Read-only file system"]
        assert list(place.iterdir()) == []
    finally:
        if made:
            place.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
async def test_engines_run_as_the_sessions_user() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        rig = ProcessRuntime(Path(folder) / "sessions", "n", user="nobody", log_limit=20_000, log_files=2)
        script = "id -un; touch mine && echo made; touch ../state.json"
        await rig.start(Job(session="svc-aaaaa", argv=("/bin/sh", "-c", script), env={"PATH": "/bin:/usr/bin"}))
        await rig.ended("svc-aaaaa")
        lines = [line.split(" ", 1)[1] for line in (Path(folder) / "sessions/svc-aaaaa/log").read_text().splitlines()]
    assert lines[:2] == ["nobody", "made"]
    assert "Permission denied" in lines[2]
