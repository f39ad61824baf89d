"""Sessions that run on this machine without a platform: what a killed `up` leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.data_dir import DataDir


def sessions(data: DataDir) -> list[str]:
    """Ids of the sessions in this data directory whose processes live. Linux; elsewhere none is found."""
    found: set[str] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid != os.geteuid() and os.geteuid() != 0:
                continue
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        id = next((v[15:] for v in variables if v.startswith(b"STOKER_SESSION=")), b"")
        if id and any(os.fsencode(data.nodes) + b"/" in v for v in variables):
            found.add(id.decode("utf-8", "replace"))
    return sorted(found)
