"""The life of a platform on one machine.

`start`: lock → tokens and key → port → store and processes → router ready → user token → nodes ready → drained nodes opened →
up.json. `keep`: whatever dies is started again. `stop`: drained or not, the processes end, the store last.

Everything that must not outlive us hangs on a pipe whose write end only we hold: however we end, its readers notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stoker.cli.up import children, leftovers, lock, log_files, token_files
from stoker.cli.up.caller import Caller
from stoker.cli.up.child import Child
from stoker.cli.up.draining import Draining
from stoker.cli.up.options import Options
from stoker.cli.up.store_keeper import StoreKeeper
from stoker.clock import Clock
from stoker.data_dir import DataDir
from stoker.errors import ConfigurationError
from stoker.store.embedded import EmbeddedServer

START_SECONDS = 60.0
NODES_SECONDS = 10.0
"""How long `up` waits for its workers after the router is ready; it goes on without them, and says so."""

_POLL_SECONDS = 0.02
_LOGS_SECONDS = 10.0


class Supervisor:
    """One platform. `env` is the environment that the processes start from; `tell` gets sentences for whoever watches."""

    def __init__(self, options: Options, env: Mapping[str, str], clock: Clock, tell: Callable[[str], None]) -> None:
        self._options, self._clock, self._tell = options, clock, tell
        self._env = dict(env)
        self._data = DataDir(Path(options.data_dir))
        self._server = EmbeddedServer(self._data.path) if options.redis_url is None else None
        self._children: list[Child] = []
        self._lock: int | None = None
        self._lifeline: tuple[int, int] | None = None
        self._caller: Caller | None = None
        self.up: dict[str, Any] = {}

    async def start(self) -> dict[str, Any]:
        """What `up --json` prints, once everything is ready. Raises ConfigurationError; what was started is then stopped."""
        try:
            self._prepare()
            async with asyncio.TaskGroup() as group:  # the services import for longer than the store takes, and wait for it
                if self._server is not None:
                    group.create_task(self._server.start())
                await self._start_children()
            async with asyncio.timeout(START_SECONDS):
                self.up = await self._open()
            token_files.write(self._data.up, json.dumps(self.up))
        except BaseException as error:
            await self.stop()
            raise self._explain(error) from error
        return self.up

    async def keep(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._server is not None:
                group.create_task(StoreKeeper(self._server, self._clock, self._tell).run())
            for child in self._children:
                group.create_task(child.run(self._env))
            group.create_task(self._keep_logs_short())

    @property
    def caller(self) -> Caller:
        """Speaks to our own router, as the admin."""
        assert self._caller is not None, "start it first"
        return self._caller

    def draining(self) -> Draining:
        """What takes the sessions off this platform."""
        return Draining(self.caller, self._data, self._clock, self._tell)

    async def stop(self) -> None:
        """The processes end, then the store, then the lock is free. Sessions are the nodes' own: they run on unless drained."""
        if self._lock is not None:  # without it, the file is another's
            with contextlib.suppress(OSError):
                self._data.up.unlink(missing_ok=True)
        async with asyncio.TaskGroup() as group:
            for child in self._children:
                group.create_task(child.stop())
        self._children = []
        if self._server is not None:
            await self._server.stop()
        for fd in (*(self._lifeline or ()), self._lock):
            if fd is not None:
                os.close(fd)
        self._lifeline = self._lock = None

    def _explain(self, error: BaseException) -> BaseException:
        """The sentence for the user; what is nobody's mistake stays as it is."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, TimeoutError):
            return ConfigurationError(f"the platform was not ready after {START_SECONDS:g} s; see the logs in {self._data.logs}")
        if isinstance(error, OSError):
            return ConfigurationError(f"the data directory {self._data.path} cannot be used: {_cure(error)}")
        return error

    def _prepare(self) -> None:
        self._data.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = lock.hold(self._data.lock)
        key_file = self._env.get("STOKER_SECRET_KEY_FILE")
        token_files.prepare(self._data, self._env.get("STOKER_ADMIN_TOKEN") or None, Path(key_file) if key_file else self._data.cluster_key)
        self._data.logs.mkdir(exist_ok=True)
        self._data.ready_file("router").parent.mkdir(exist_ok=True)
        token_files.write(self._data.options, self._options.to_text())
        if self._options.port:
            _refuse_taken(self._options.host, self._options.port)
        self._lifeline = os.pipe()

    async def _start_children(self) -> None:
        assert self._lifeline is not None, "prepare it first"
        left = leftovers.nodes(self._data)
        for spec in children.plan(self._options, self._data, left):
            log = self._data.logs / f"{spec.name}.log"
            child = Child(spec, log, self._data.path, self._lifeline[0], self._clock, self._tell)
            self._data.ready_file(spec.name).unlink(missing_ok=True)
            child.extra = {"STOKER_READY_FILE": str(self._data.ready_file(spec.name))}
            self._children.append(child)
            await child.start(self._env)

    async def _open(self) -> dict[str, Any]:
        """Wait for the parts while watching that none ends; then the user's token and the nodes."""
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(_refuse_end(child)) for child in self._children]
            port = await self._port()
            host = reachable(self._options.host)
            admin = token_files.read(self._data.admin_token)
            self._caller = Caller(host, port, admin or "")
            self._children[0].extra["STOKER_PORT"] = str(port)  # a restarted router keeps the address that it had
            while (await self._caller.ask("GET", "/readyz", timeout=2.0)).status != 200:
                await self._clock.sleep(_POLL_SECONDS)
            await self._make_user_token(self._caller)
            await self._nodes_ready(self._caller)
            await self.draining().undo()
            for watch in watches:
                watch.cancel()
        shown = f"[{host}]" if ":" in host else host
        return {
            "url": f"http://{shown}:{port}",
            "data_dir": str(self._data.path),
            "admin_token_file": str(self._data.admin_token),
            "user_token_file": str(self._data.user_token),
            "pid": os.getpid(),
        }

    async def _port(self) -> int:
        file = self._data.ready_file("router")
        while True:
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
                return int(json.loads(file.read_text())["port"])
            await self._clock.sleep(_POLL_SECONDS)

    async def _make_user_token(self, caller: Caller) -> None:
        """The token in DATA/user-token, made anew where it is missing or the store does not know it."""
        known = token_files.read(self._data.user_token)
        if known is not None and (await caller.ask("GET", "/v1/models", token=known)).status != 401:
            return
        answer = await caller.ask("POST", "/admin/tokens", {"name": "up", "role": "user", "expires": "never"})
        if answer.status not in (200, 201):
            raise ConfigurationError(f"the router did not make a user token (status {answer.status}); see {self._data.logs}/router.log")
        token_files.write(self._data.user_token, answer.body["token"])

    async def _nodes_ready(self, caller: Caller) -> None:
        names = {child.spec.env["STOKER_NODE_NAME"] for child in self._children if child.spec.role == "worker"}
        deadline = self._clock.monotonic() + NODES_SECONDS
        while self._clock.monotonic() < deadline:
            nodes = await caller.items("/admin/nodes")
            if nodes is not None and names <= {node["name"] for node in nodes if node["status"] not in ("silent", "lost")}:
                return
            await self._clock.sleep(_POLL_SECONDS)
        self._tell(f"not all nodes are ready after {NODES_SECONDS:g} s; see the workers' logs in {self._data.logs}")

    async def _keep_logs_short(self) -> None:
        while True:
            await self._clock.sleep(_LOGS_SECONDS)
            for log in (self._data.logs / "up.log", *(child.log for child in self._children)):
                log_files.rotate(log)


async def _refuse_end(child: Child) -> None:
    """A process that ends during the first start will end again: say why instead of trying."""
    status = await child.wait()
    raise ConfigurationError(f"the {child.spec.name} did not start: {child.complaint(status)}")


def reachable(host: str) -> str:
    """Where a program on this machine finds a router that is bound to `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def _refuse_taken(host: str, port: int) -> None:
    """Raise ConfigurationError where nobody can listen on host:port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                sentence = f"port {port} of {host} is in use by another program; choose another with --port N, or --port 0 for a free one"
            else:
                sentence = f"nobody can listen on {host}, port {port}: {error.strerror}; choose others with --host and --port"
            raise ConfigurationError(sentence) from error


def _cure(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}; free some space and try again"
    return f"{error.strerror}{where}; choose another with --data-dir"
