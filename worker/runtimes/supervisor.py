"""The parent of one session's engine. Standard library only, and little of it: one runs for every session.

It outlives the worker. In its folder it keeps `log` (and `log.1`, …), `state.json` (who runs, written before the engine may run) and
`exit.json` (how it ended, synced to disk). It inherits a flock on `lock`: while that is held, a supervisor lives.
SIGTERM: the order's signals to the engine in turn, each with its grace, then SIGKILL to all. SIGUSR1: SIGKILL to all at once.
As a subreaper it inherits whatever the engine leaves behind, so "no child is left" means that all of the session is gone.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` builds enums: 0.8 MB more in every session
import ctypes
import os
import select
import sys
import time

from worker.runtimes.engine_child import become
from worker.runtimes.engine_log import EngineLog
from worker.runtimes.engine_order import EngineOrder
from worker.runtimes.supervisor_files import boot_id, descendants, reserve, start_time, write_json

_READ_SIZE = 64 * 1024
_PARTIAL_SECONDS = 0.5
"""How long an unfinished line (a prompt, a progress bar) may wait for its end."""

_KILL_AGAIN_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
_LAST_WORDS_SECONDS = 1.0
_PR_SET_CHILD_SUBREAPER = 36


class Supervisor:
    """One engine from its start to the end of everything it started."""

    def __init__(self, folder: str, order: EngineOrder) -> None:
        self._folder, self._order = folder, order
        self._log = EngineLog(os.path.join(folder, "log"), int(order.one("log_limit", "16777216")), int(order.one("log_files", "2")))
        self._signals = [int(number) for number in order.all("signal")] or [int(signal.SIGTERM)]
        self._grace = float(order.one("grace", "30"))
        self._stops_sent, self._next_stop, self._kills_sent = 0, 0.0, 0
        self._stop = self._kill = self._asked = self._killed = False
        self._engine = 0
        self._status: int | None = None
        self._started_at, self._ended_at = time.time(), 0.0
        self._error = self._exit_part = ""
        self._output = -1
        self._wake, self._waker = os.pipe()
        self._oom_before = self._oom_kills()

    def run(self) -> int:
        """1 listen to signals, 2 fork, 3 say who runs, 4 let it run, 5 watch, 6 say how it ended."""
        self._listen()
        try:
            self._exit_part = reserve(self._folder)
            go, error = self._fork()
            self._write_state()
        except OSError as problem:
            self._abandon()
            _tell(f"failed {problem.errno} {problem.strerror}")
            return 1
        os.write(go, b"g")
        os.close(go)
        self._error = _read_all(error)
        _tell("started")
        self._watch()
        self._write_exit()
        return 0

    def _listen(self) -> None:
        def stop(*_: object) -> None:
            self._stop = True

        def kill(*_: object) -> None:
            self._kill = True

        for fd in (self._wake, self._waker):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGUSR1, kill)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(ignored, signal.SIG_IGN)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def _fork(self) -> tuple[int, int]:
        """The engine's process, waiting for a byte on the first pipe; the second tells why it could not become the engine."""
        libc = ctypes.CDLL(None)
        if sys.platform == "linux":
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        ready, go = os.pipe()
        error, failed = os.pipe()
        self._output, output = os.pipe()
        parent = os.getpid()
        self._engine = os.fork()
        if self._engine == 0:
            os.close(go)
            become(self._order, libc, parent, ready, failed, output)
        for fd in (ready, failed, output):
            os.close(fd)
        os.set_blocking(self._output, False)
        return go, error

    def _write_state(self) -> None:
        values: dict[str, object] = {"boot_id": boot_id(), "pid": self._engine, "start": start_time(self._engine)}
        values |= {"supervisor": os.getpid(), "supervisor_start": start_time(os.getpid()), "started_at": self._started_at}
        write_json(self._folder, "state.json", values, sync=False)

    def _abandon(self) -> None:
        if self._engine:
            os.kill(self._engine, signal.SIGKILL)  # our own child, not waited for yet: nobody else can bear its pid
            os.waitpid(self._engine, 0)

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll(self._timeout())]
            if self._wake in ready:
                os.read(self._wake, 4096)
            if self._output in ready and not self._read_output():
                poll.unregister(self._output)
                os.close(self._output)
                self._output = -1
            elif not ready:
                self._log.flush()
            childless = self._reap()
            self._advance_stop()
            if self._status is None:
                continue
            if childless and (self._output < 0 or time.time() - self._ended_at > _LAST_WORDS_SECONDS):
                self._log.flush()
                return
            self._kill_all()

    def _timeout(self) -> float | None:
        """Milliseconds until something is due; None while there is nothing to do but wait."""
        if self._status is not None or self._killed:
            return 1000 * _KILL_AGAIN_SECONDS[min(self._kills_sent, len(_KILL_AGAIN_SECONDS) - 1)]
        due = [_PARTIAL_SECONDS] if self._log.waiting else []
        if self._asked:
            due.append(max(0.0, self._next_stop - time.monotonic()))
        return min(due) * 1000 + 1 if due else None

    def _read_output(self) -> bool:
        """Whether there may be more."""
        try:
            data = os.read(self._output, _READ_SIZE)
        except BlockingIOError:
            return True
        self._log.feed(data)
        return bool(data)

    def _reap(self) -> bool:
        """Whether no child is left, neither the engine nor anything that it left behind."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self._engine:
                self._status, self._ended_at = status, time.time()

    def _advance_stop(self) -> None:
        if self._status is not None or not (self._stop or self._kill):
            return
        now, self._asked = time.monotonic(), True
        if self._kill or (self._stops_sent == len(self._signals) and now >= self._next_stop):
            self._killed = True
            self._kill_all()
        elif now >= self._next_stop:
            os.kill(self._engine, self._signals[self._stops_sent])  # not waited for yet: the pid is its own
            self._stops_sent += 1
            self._next_stop = now + self._grace

    def _kill_all(self) -> None:
        """SIGKILL to everything below this process; again and again until nothing is left, for some fork meanwhile."""
        self._kills_sent += 1
        for pid in descendants(os.getpid()) or ([self._engine] if self._status is None else []):
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue

    def _oom_kills(self) -> int:
        """Kills for want of memory that the kernel has counted: in the session's cgroup, else on the whole machine."""
        total = 0
        for path in self._order.all("oom") or ["/proc/vmstat"]:
            try:
                with open(path) as file:
                    total += sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
            except (OSError, IndexError, ValueError):
                continue
        return total

    def _write_exit(self) -> None:
        code = os.waitstatus_to_exitcode(self._status or 0)
        shortage = self._oom_kills() > self._oom_before and not self._asked and code != 0
        oom = shortage and (bool(self._order.all("oom")) or code == -int(signal.SIGKILL))
        for path in self._order.all("cgroup"):
            try:
                os.rmdir(path)
            except OSError:
                continue  # the worker tries again
        values: dict[str, object] = {"code": code if code >= 0 else None, "signal": -code if code < 0 else None, "oom": oom}
        values |= {"asked": self._asked, "killed": self._killed, "error": self._error or None, "lines_lost": self._log.lost}
        values |= {"started_at": self._started_at, "ended_at": self._ended_at}
        write_json(self._folder, "exit.json", values, sync=True, part=self._exit_part)


def _read_all(fd: int) -> str:
    data = b""
    while part := os.read(fd, 4096):
        data += part
    os.close(fd)
    return data.decode(errors="replace")


def _tell(word: str) -> None:
    """One line to the worker, if it still listens; afterwards stdout is nobody's."""
    try:
        os.write(1, word.encode() + b"\n")
    except OSError:
        word = ""  # nobody is there to be told; the next worker reads it from the disk
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def main(folder: str, lock: int) -> int:
    """`lock` is the inherited descriptor of FOLDER/lock; the order comes on stdin."""
    os.set_inheritable(lock, False)
    order = EngineOrder.read(0)
    return Supervisor(folder, order).run() if order else 0
