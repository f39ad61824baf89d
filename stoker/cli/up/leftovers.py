"""Sessions that run on this machine without a platform: what a killed `up` leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.data_dir import DataDir


def sessions(data: DataDir) -> list[str]:
    """Ids of the sessions in this data directory whose processes live. Linux; elsewhere none is found."""
    return sorted(id for _, id in _living(data))


def nodes(data: DataDir) -> set[str]:
    """The nodes of this data directory on which sessions live: each needs its worker, whatever `up` was asked for."""
    return {node for node, _ in _living(data)}


def _living(data: DataDir) -> set[tuple[str, str]]:
    """Pairs of node and session, by what the worker wrote into the environment of every session."""
    found: set[tuple[str, str]] = set()
    within = b"STOKER_SESSION_DIR=" + os.fsencode(data.nodes) + b"/"
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid != os.geteuid() and os.geteuid() != 0:
                continue
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        folder = next((variable[len(within) :] for variable in variables if variable.startswith(within)), b"")
        parts = folder.decode("utf-8", "replace").split("/")
        if len(parts) >= 3 and parts[1] == "sessions":
            found.add((parts[0], parts[2]))
    return found
