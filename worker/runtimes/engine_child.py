"""The forked process until it becomes the engine: its group, limits, view of the models and rights. Standard library only."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` builds enums: 0.8 MB more in every session
import ctypes
import os
import resource
import sys

from worker.runtimes.engine_order import EngineOrder

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_SLAVE = 1, 32, 4096, 16384, 1 << 19
_HANDLED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE)


def become(order: EngineOrder, libc: ctypes.CDLL, parent: int, ready: int, failed: int, output: int) -> None:
    """Never returns: waits for a byte on `ready`, then becomes the engine. `failed` hears what went wrong, and closes if nothing did."""
    argv = order.all("argv")
    try:
        _prepare(order, libc, parent, output)
        if os.read(ready, 1) == b"g":
            os.execvpe(argv[0], argv, dict(pair.partition("=")[::2] for pair in order.all("env")))  # noqa: S606
    except OSError as problem:
        os.write(failed, f"cannot start {argv[0]}: {problem.strerror}".encode())
    finally:
        os._exit(127)


def _prepare(order: EngineOrder, libc: ctypes.CDLL, parent: int, output: int) -> None:
    os.setpgid(0, 0)
    for path in order.all("cgroup"):
        with open(os.path.join(path, "cgroup.procs"), "w") as file:
            file.write("0")
    signal.set_wakeup_fd(-1)
    for number in _HANDLED:
        signal.signal(number, signal.SIG_DFL)
    empty = os.open(os.devnull, os.O_RDONLY)
    for fd, target in ((empty, 0), (output, 1), (output, 2)):
        os.dup2(fd, target)
    _limit()
    _show_models(order, libc)
    os.chdir(order.one("cwd", "/"))
    _step_down(order, libc)
    if _LINUX:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel knew
            os._exit(127)


def _limit() -> None:
    """No core dumps (they hold prompts); as many files as the machine allows."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError):
        return  # macOS calls the limit endless and refuses it


def _show_models(order: EngineOrder, libc: ctypes.CDLL) -> None:
    """The model folder at /models, for this session alone. Where that is not allowed it has its real path only."""
    source = os.fsencode(order.one("models"))
    if not source or not _LINUX or libc.unshare(_CLONE_NEWNS) != 0:
        return
    if libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None) != 0:
        return
    if libc.mount(source, b"/models", None, _MS_BIND | _MS_REC, None) == 0:
        libc.mount(None, b"/models", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY, None)


def _step_down(order: EngineOrder, libc: ctypes.CDLL) -> None:
    """Become the session's user, if there is one, for good."""
    uid = order.one("uid")
    if uid:
        os.setgroups([int(group) for group in order.all("group")])
        os.setgid(int(order.one("gid")))
        os.setuid(int(uid))
        if _LINUX:
            libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.umask(0o022)
