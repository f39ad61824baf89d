"""A cgroup per session, where the system lets us: its memory limit, its number of processes, and who was killed for memory.

Both versions are tried, below the worker's own cgroup first and below the root of the hierarchy then. Without any, a session
has no memory limit of its own, and the kernel's count for the whole machine tells about kills.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

PIDS_LIMIT = 32_768
"""Processes and threads of one session."""

_ROOT = Path("/sys/fs/cgroup")


class Cgroups(msgspec.Struct, frozen=True):
    """`folders` to put the engine into, `oom_files` whose `oom_kill` line counts kills; both empty where there is no cgroup."""

    folders: tuple[Path, ...] = ()
    oom_files: tuple[Path, ...] = ()


class CgroupMaker:
    """Makes them for one node; `name` is unlike that of any other node on this machine."""

    def __init__(self, name: str, root: Path = _ROOT, own: str | None = None) -> None:
        self._name, self._root = name, root
        self._own = Path("/proc/self/cgroup").read_text() if own is None and Path("/proc/self/cgroup").exists() else own or ""

    def make(self, session: str, memory: int) -> Cgroups:
        """A fresh one with `memory` bytes (0: no limit). Never fails: what cannot be had is left out."""
        for attempt in (self._version_2, self._version_1, self._version_1):  # once more: another's end may have removed the parent
            found = attempt(session, memory)
            if found.folders:
                return found
        return Cgroups()

    def _version_2(self, session: str, memory: int) -> Cgroups:
        for base in self._bases_2():
            parent = base / f"stoker-{self._name}"
            place = parent / session
            try:
                if "memory" not in (base / "cgroup.subtree_control").read_text().split():
                    (base / "cgroup.subtree_control").write_text("+memory +pids")
                parent.mkdir(exist_ok=True)
                (parent / "cgroup.subtree_control").write_text("+memory +pids")
                place.mkdir(exist_ok=True)
                if memory:
                    (place / "memory.max").write_text(str(memory))
                    _try(place / "memory.swap.max", "0")
                _try(place / "pids.max", str(PIDS_LIMIT))
            except OSError:
                _discard(place)
                continue
            return Cgroups((place,), (place / "memory.events",))
        return Cgroups()

    def _version_1(self, session: str, memory: int) -> Cgroups:
        folders: list[Path] = []
        oom: list[Path] = []
        for controller, limit in (("memory", ("memory.limit_in_bytes", memory)), ("pids", ("pids.max", PIDS_LIMIT))):
            for base in self._bases_1(controller):
                place = base / f"stoker-{self._name}" / session
                try:
                    place.mkdir(parents=True, exist_ok=True)
                    if limit[1]:
                        (place / limit[0]).write_text(str(limit[1]))
                except OSError:
                    _discard(place)
                    continue
                folders.append(place)
                oom += [place / "memory.oom_control"] if controller == "memory" else []
                break
        return Cgroups(tuple(folders), tuple(oom))

    def _bases_2(self) -> list[Path]:
        own = next((line[3:] for line in self._own.splitlines() if line.startswith("0::")), None)
        if own is None or not (self._root / "cgroup.controllers").exists():
            return []
        return _existing(self._root, own)

    def _bases_1(self, controller: str) -> list[Path]:
        for line in self._own.splitlines():
            _, names, own = line.split(":", 2)
            if controller in names.split(","):
                return _existing(self._root / controller, own)
        return []


def remove(folders: Iterable[Path]) -> None:
    """Of a session that ended; and the node's own when it was the last."""
    for place in folders:
        try:
            place.rmdir()
        except FileNotFoundError:
            pass  # its supervisor was quicker
        except OSError as error:
            log.warning("the cgroup %s stays: %s", place, error.strerror)
        _discard(place.parent)


def _existing(root: Path, own: str) -> list[Path]:
    """The own cgroup's folder and the root's; in a container the first may not be visible."""
    places = dict.fromkeys((root / own.lstrip("/"), root))
    return [place for place in places if place.is_dir()]


def _try(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError:
        return  # the kernel was built without it


def _discard(place: Path) -> None:
    try:
        place.rmdir()
    except OSError:
        return
