"""Several router processes on one port: they share the listening socket, which is bound once and handed down.

Each is a whole router with an id of its own; what they must agree on goes through the store, as between machines. One that dies is
started again; one that dies within START_SECONDS cannot start, and ends them all. A signal to the parent goes to each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from router.listening import LISTEN, READY_FILE, bind
from stoker.keyring import read_key
from stoker.lifeline import VARIABLE
from stoker.settings import Settings

START_SECONDS = 5.0
AGAIN_SECONDS = 0.5


class Processes:
    """`run` returns the exit code when the last one has ended."""

    def __init__(self, settings: Settings) -> None:
        read_key(settings.key_file(), create=settings.secret_key_file is None)  # once, before several look for it
        self._listening = bind(settings.host, settings.port)
        self._count = settings.processes
        self._running: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self._ending = False
        self._code = 0

    def run(self) -> int:
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        signal.signal(signal.SIGINT, lambda *_: self._end())
        for number in range(self._count):
            self._start(tells=number == 0)
        while self._running:
            pid, status = os.wait()
            found = self._running.pop(pid, None)
            if found is not None:
                self._ended(*found, os.waitstatus_to_exitcode(status))
        return self._code

    def _start(self, tells: bool) -> None:
        environment = {**os.environ, "STOKER_PROCESSES": "1", LISTEN: str(self._listening.fileno())}
        if not tells:
            environment.pop(READY_FILE, None)
        lifeline = (int(os.environ[VARIABLE]),) if VARIABLE in os.environ else ()
        handed = (self._listening.fileno(), *lifeline)
        process = subprocess.Popen([sys.executable, "-P", "-m", "router"], env=environment, pass_fds=handed)
        self._running[process.pid] = (process, time.monotonic())
        if self._ending:  # the signal came meanwhile
            process.send_signal(signal.SIGTERM)

    def _ended(self, process: subprocess.Popen[bytes], since: float, code: int) -> None:
        process.returncode = code
        if self._ending:
            return
        if code == 0 or time.monotonic() - since < START_SECONDS:
            self._code = code if code >= 0 else 1
            self._end()
            return
        time.sleep(AGAIN_SECONDS)
        if not self._ending:
            self._start(tells=False)

    def _end(self) -> None:
        self._ending = True
        for process, _ in [*self._running.values()]:
            process.send_signal(signal.SIGTERM)
