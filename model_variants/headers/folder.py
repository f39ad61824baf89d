"""What lies in a model folder: names, and a digest that changes when the files do. At most some thousand entries are looked at."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from model_variants.headers.bounded import UnreadableModel

ENTRIES_LIMIT = 5000
_DEPTH = 4


def names_in(folder: Path) -> list[str]:
    """Sorted names of the folder's own entries, hidden ones left out. Raises OSError, UnreadableModel."""
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                names.append(entry.name)
            if len(names) > ENTRIES_LIMIT:
                raise UnreadableModel(f"{folder} holds more than {ENTRIES_LIMIT} entries; that is no model folder")
    return sorted(names)


def survey(path: Path) -> tuple[str, int]:
    """What identifies the files (16 hex digits of their names, sizes and times), and their bytes together."""
    digest, total = hashlib.sha256(), 0
    for name, found in sorted(_files(path)):
        total += found.st_size
        digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16], total


def _files(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    if path.is_file():
        yield path.name, path.stat()
        return
    seen = 0
    for folder, folders, files in os.walk(path, onerror=_refuse):
        inside = os.path.relpath(folder, path)
        if inside != "." and inside.count(os.sep) + 1 >= _DEPTH:
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            seen += 1
            if seen > ENTRIES_LIMIT:
                return
            if not name.startswith("."):
                yield os.path.join(inside, name), os.stat(os.path.join(folder, name))


def _refuse(error: OSError) -> None:
    raise error
