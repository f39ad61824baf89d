"""The process runtime: each session under a supervisor of its own, which needs no worker to live.

A session's folder holds `lock` (held by its supervisor), `state.json`, `exit.json`, `cgroups`, `log*` and the engine's own `work/`.
What they say together: lock held → it runs; exit.json → it ended; state.json alone → its supervisor was killed; nothing → never started.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import pwd
import shutil
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import TypeVar

import msgspec

from model_variants.base import NO_FILES
from stoker.errors import ConfigurationError
from worker.runtimes import cgroups, leftovers
from worker.runtimes.base import CannotStart, Ending, Job, Running
from worker.runtimes.engine_order import EngineOrder
from worker.runtimes.supervisor_files import boot_id, descendants, start_time
from worker.runtimes.waiting import process_ended

log = logging.getLogger(__name__)
StructT = TypeVar("StructT", bound=msgspec.Struct)

_SUPERVISE = Path(__file__).with_name("supervise.py")
_LOCK_TRIES = 20
_POLL_SECONDS = 0.02
_LOUD_EVERY = 500
_NEEDED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What the interpreter itself may need to start."""

_DISK_ERRNOS = (28, 122)
"""ENOSPC and EDQUOT."""


class State(msgspec.Struct, frozen=True):
    """state.json: who runs. Start times are clock ticks after the boot."""

    boot_id: str
    pid: int
    start: int
    supervisor: int
    supervisor_start: int
    started_at: float


class ProcessRuntime:
    """`root` holds the sessions' folders; `user` is whom engines run as (root only), `log_limit` bytes × `log_files` their log."""

    name = "process"

    def __init__(self, root: Path, node: str, *, user: str | None, log_limit: int, log_files: int) -> None:
        self._root = root
        self._cgroups = cgroups.CgroupMaker(f"{node}-{zlib.crc32(os.fsencode(root)):08x}")
        self._user = _look_up(user) if user else None
        self._log_limit, self._log_files = log_limit, log_files
        self._children: dict[str, int] = {}
        root.mkdir(parents=True, exist_ok=True)

    def folder(self, session: str) -> Path:
        return self._root / session

    def sessions(self) -> list[str]:
        return sorted(entry.name for entry in self._root.iterdir() if entry.is_dir())

    async def start(self, job: Job) -> Running:
        return await asyncio.to_thread(self._start, job)

    async def find(self, session: str) -> Running | Ending | None:
        waited = 0
        while self._lives(session):
            state = self._state(session)
            if state is not None and state.boot_id == boot_id():
                return Running(pid=state.pid, started_at=state.started_at)
            waited += 1
            if waited % _LOUD_EVERY == 0:
                log.warning("the supervisor of %s has not said yet whom it started; waiting on", session)
            await asyncio.sleep(_POLL_SECONDS)
        if not (self.folder(session) / "exit.json").exists() and self._state(session) is None:
            return None
        return await self._ending(session)

    async def ended(self, session: str) -> Ending:
        state = self._state(session)
        child = self._children.get(session)
        if state is not None and self._lives(session):
            await process_ended(state.supervisor, state.supervisor_start, lambda: self._lives(session))
        if child is not None:
            await asyncio.to_thread(_reap, child)
            self._children.pop(session, None)
        return await self._ending(session)

    async def stop(self, session: str, *, kill: bool = False) -> None:
        state = self._state(session)
        if state is None or not self._lives(session):
            return
        number = signal.SIGUSR1 if kill else signal.SIGTERM
        if sys.platform != "linux":
            os.kill(state.supervisor, number)  # it holds the lock, so the pid is its own
            return
        try:
            fd = os.pidfd_open(state.supervisor)
        except ProcessLookupError:
            return
        try:
            if start_time(state.supervisor) == state.supervisor_start:
                signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return
        finally:
            os.close(fd)

    def pids(self, *sessions: str) -> set[int]:
        states = [state for session in sessions if (state := self._state(session)) is not None and state.boot_id == boot_id()]
        return {state.pid for state in states} | set(descendants(*(state.supervisor for state in states)))

    async def remove(self, session: str) -> None:
        await asyncio.to_thread(self._remove, session)

    def _remove(self, session: str) -> None:
        if not self._lives(session):
            self._clear(session)
            shutil.rmtree(self.folder(session), ignore_errors=True)

    def _start(self, job: Job) -> Running:
        folder = self.folder(job.session)
        try:
            work = self._make_folder(folder)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _take(lock)
                for name in ("state.json", "exit.json"):
                    (folder / name).unlink(missing_ok=True)
                child, answer = self._spawn(job, folder, work, lock)
            finally:
                os.close(lock)
        except BlockingIOError as error:
            raise CannotStart("held_by", f"a supervisor of {job.session} runs already") from error
        except OSError as error:
            self._clear(job.session)
            raise _no_folder(folder, error) from error
        state = self._state(job.session)
        if answer != "started" or state is None:
            os.kill(child, signal.SIGKILL)  # our child, not waited for: the pid is its own
            os.waitpid(child, 0)
            self._clear(job.session)
            raise _refused(answer)
        self._children[job.session] = child
        return Running(pid=state.pid, started_at=state.started_at)

    def _clear(self, session: str) -> None:
        """What a session needs only while it runs."""
        cgroups.remove(self._cgroups_of(session))
        shutil.rmtree(self.folder(session) / "work", ignore_errors=True)

    def _spawn(self, job: Job, folder: Path, work: Path, lock: int) -> tuple[int, str]:
        """The supervisor's pid, and what it said: `started` or `failed ERRNO TEXT`; empty if it died."""
        place = self._placed(job, folder)
        order = self._order(job, work, place)
        errors = os.open(folder / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        told, tell = os.pipe()
        heard, say = os.pipe()
        given = {told: 0, say: 1, errors: 2, lock: 3}
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(_SUPERVISE), str(folder), "3"],
                {name: os.environ[name] for name in _NEEDED if name in os.environ},
                file_actions=[(os.POSIX_SPAWN_DUP2, ours, theirs) for ours, theirs in given.items()],
                setsid=True,
            )
        finally:
            for fd in (told, say, errors):
                os.close(fd)
        with os.fdopen(tell, "wb", buffering=0) as pipe, contextlib.suppress(BrokenPipeError):
            _write_all(pipe.fileno(), order)
        with os.fdopen(heard, "rb") as answer:
            return pid, answer.readline().decode(errors="replace").strip()

    def _placed(self, job: Job, folder: Path) -> cgroups.Cgroups:
        """Its cgroup, kept in writing for whichever worker cleans up."""
        place = self._cgroups.make(job.session, job.memory)
        try:
            (folder / "cgroups").write_text("\n".join(map(str, place.folders)))
        except OSError:
            cgroups.remove(place.folders)
            raise
        return place

    def _order(self, job: Job, work: Path, place: cgroups.Cgroups) -> bytes:
        fields = [("argv", word) for word in job.argv]
        environment = job.env | {leftovers.MARK: str(self.folder(job.session))}
        fields += [("env", f"{name}={value}") for name, value in environment.items()]
        fields += [("signal", str(int(number))) for number in job.stop_signals]
        fields += [("cgroup", str(path)) for path in place.folders]
        fields += [("oom", str(path)) for path in place.oom_files]
        fields += [("cwd", job.cwd or str(work)), ("grace", str(job.stop_grace))]
        fields += [("log_limit", str(self._log_limit)), ("log_files", str(self._log_files))]
        if job.model_folder:
            fields.append(("models", job.model_folder))
        if self._user is not None:
            fields += [("uid", str(self._user.pw_uid)), ("gid", str(self._user.pw_gid))]
            fields += [("group", str(group)) for group in os.getgrouplist(self._user.pw_name, self._user.pw_gid)]
        try:
            return EngineOrder(fields).encode()
        except ValueError as error:
            raise CannotStart("start_exit", f"the start command cannot be used: {error}") from error

    def _make_folder(self, folder: Path) -> Path:
        work = folder / "work"
        for path in (folder, work, work / "tmp"):
            path.mkdir(mode=0o755, exist_ok=True)
            if self._user is not None and path != folder:
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        (work / NO_FILES).mkdir(mode=0o555, exist_ok=True)
        return work

    def _lives(self, session: str) -> bool:
        """Whether a supervisor holds the session's lock."""
        try:
            fd = os.open(self.folder(session) / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _state(self, session: str) -> State | None:
        return _read(self.folder(session) / "state.json", State)

    def _cgroups_of(self, session: str) -> list[Path]:
        """Where its engine was put, by whichever worker started it."""
        try:
            return [Path(line) for line in (self.folder(session) / "cgroups").read_text().splitlines()]
        except FileNotFoundError:
            return []

    async def _ending(self, session: str) -> Ending:
        """How it ended, once nothing of it is left."""
        state = self._state(session)
        told = _read(self.folder(session) / "exit.json", Ending)
        if told is None:
            rebooted = state is not None and state.boot_id != boot_id()
            told = Ending(orphaned=not rebooted, rebooted=rebooted, started_at=state.started_at if state else 0.0, ended_at=time.time())
            if state is not None and not rebooted:
                await self._clean(session, state)
        await asyncio.to_thread(self._clear, session)
        return told

    async def _clean(self, session: str, state: State) -> None:
        """Kill what a killed supervisor left behind, and wait until it is gone."""
        pause = _POLL_SECONDS
        while left := await asyncio.to_thread(
            leftovers.find, self.folder(session), state.supervisor, state.supervisor_start, self._cgroups_of(session)
        ):
            log.warning("session %s: killing what its supervisor left behind: %s", session, sorted(left))
            for pid, start in left.items():
                leftovers.kill(pid, start)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)


def _take(lock: int) -> None:
    """The lock for ourselves. Whoever only looks whether it is held has it for a moment. Raises BlockingIOError."""
    for attempt in range(_LOCK_TRIES):
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 == _LOCK_TRIES:
                raise
            time.sleep(_POLL_SECONDS)
    return None


def _read(path: Path, kind: type[StructT]) -> StructT | None:
    """None where there is no such file, or none that was written to its end."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.DecodeError as error:
        log.error("%s cannot be read: %s", path, error)
        return None


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _reap(child: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


def _refused(answer: str) -> CannotStart:
    word, _, rest = answer.partition(" ")
    number, _, text = rest.partition(" ")
    if word == "failed" and int(number) in _DISK_ERRNOS:
        return CannotStart("disk_full", f"the node cannot keep the session's state: {text}; free some space in its data directory")
    return CannotStart("start_exit", f"the session's supervisor did not start: {text or 'it was killed'}")


def _no_folder(folder: Path, error: OSError) -> CannotStart:
    code = "disk_full" if error.errno in _DISK_ERRNOS else "start_exit"
    return CannotStart(code, f"the session's folder {folder} cannot be made: {error.strerror}")


def _look_up(user: str) -> pwd.struct_passwd:
    if os.geteuid() != 0:
        raise ConfigurationError("STOKER_SESSION_USER needs a worker that runs as root; unset it, and engines run as the worker's user")
    try:
        return pwd.getpwnam(user)
    except KeyError as error:
        raise ConfigurationError(f"STOKER_SESSION_USER: there is no user {user} on this machine") from error
