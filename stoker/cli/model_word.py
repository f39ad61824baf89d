"""What a user types as MODEL: a path becomes absolute here, because nodes know no relative one."""

from __future__ import annotations

import re
from pathlib import Path

from stoker.errors import InvalidRequest, StokerError

_DOTTED = re.compile(r"^(\.{1,2}|~[^/]*)(/|$)")


def resolve_model(word: str, *, here: bool = True) -> str:
    """The `model` of a spec: `demo`, `hf:…`, a name in the model store, or the real path of what is there.

    1. `demo` and `hf:` are what they say.
    2. What looks like a path (`/…`, `./…`, `../…`, `~/…`, `….gguf`) must be there.
    3. What is there as a folder or .gguf file beside us is that; `demo` is built in, `./demo` a folder.
    4. Anything else is a name in the model store.

    `here`: the nodes see our files. Elsewhere an absolute path stays as it is. Raises InvalidRequest, StokerError (not there).
    """
    if not word.strip():
        raise InvalidRequest("MODEL is empty; name a folder, a .gguf file, hf:ORG/NAME, a name in the model store, or demo")
    if word == "demo" or word.startswith("hf:"):  # (1)
        return word
    path = Path(word).expanduser()
    if path.is_absolute() and not here:
        return str(path)
    if path.is_absolute() or _DOTTED.match(word) or word.lower().endswith(".gguf"):  # (2)
        return str(_existing(path, word))
    if path.is_dir():  # (3)
        return str(path.resolve())
    return word  # (4)


def service_name(word: str) -> str:
    """The last part of MODEL in lower case, with other signs as `-`. Raises InvalidRequest where nothing is left."""
    name = re.sub(r"[^a-z0-9]", "-", _last_part(word).lower()).strip("-")[:63].strip("-")
    if not name:
        raise InvalidRequest(f"no name for the service follows from {word!r}; give one with --name")
    return name


def _last_part(word: str) -> str:
    if word.startswith("hf:"):
        return word.removeprefix("hf:").partition(":")[0].partition("@")[0].rpartition("/")[2]
    last = word.rstrip("/").rpartition("/")[2]
    return Path(word).expanduser().resolve().name if last in ("", ".", "..") or word.startswith("~") else last


def _existing(path: Path, word: str) -> Path:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        there = f" ({path.absolute()})" if str(path.absolute()) != word else ""
        raise StokerError(f"model_missing: there is no model at {word}{there}; name a folder or a .gguf file that is there") from error
    if not real.is_dir() and real.suffix.lower() != ".gguf":
        raise InvalidRequest(f"{path.absolute()} is neither a folder nor a .gguf file; name the model's folder")
    return real
