"""Inference servers installed on this node: found by looking, never by importing or running them.

Looked for in, and the first finding of a name and version counts:
1. DATA/engines/NAME-VERSION/, what `stoker engine install` makes
2. the prefixes of STOKER_ENGINE_PATH (virtual environments, conda environments)
3. PATH
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from stoker.records import Engine


class Kind(msgspec.Struct, frozen=True):
    """`program` is its executable in bin/, `package` the Python package whose version is the engine's (None: no package)."""

    name: str
    program: str
    package: str | None


KINDS = (
    Kind("vllm", "vllm", "vllm"),
    Kind("sglang", "sglang", "sglang"),
    Kind("transformers", "transformers", "transformers"),
    Kind("infinity", "infinity_emb", "infinity_emb"),
    Kind("llama_cpp_python", "python", "llama_cpp_python"),
    Kind("llama_cpp", "llama-server", None),
    Kind("lmdeploy", "lmdeploy", "lmdeploy"),
    Kind("ollama", "ollama", None),
    Kind("tensorrt_llm", "trtllm-serve", "tensorrt_llm"),
    Kind("max", "max", "max"),
    Kind("tgi", "text-generation-launcher", None),
    Kind("tei", "text-embeddings-router", None),
    Kind("tritonserver", "tritonserver", None),
)
_UNKNOWN = "0"


def detect(engines_dir: Path, given: Iterable[Path], search_path: str) -> tuple[Engine, ...]:
    """Every engine of this node, by name, then version."""
    found: dict[tuple[str, str], Engine] = {}
    for prefix in _prefixes(engines_dir, given, search_path):
        for kind in KINDS:
            version = version_in(prefix, kind)
            if version is not None:
                found.setdefault((kind.name, version), Engine(name=kind.name, version=version, prefix=str(prefix)))
    return tuple(found[key] for key in sorted(found))


def version_in(prefix: Path, kind: Kind) -> str | None:
    """The version of that engine in that environment; `0` where a program does not say, None where it is not there."""
    if not os.access(prefix / "bin" / kind.program, os.X_OK):
        return None
    if kind.package is None:
        return _folder_version(prefix, kind.name)
    pattern = re.compile(kind.package.replace("_", "[-_.]") + r"-(.+)\.dist-info", re.IGNORECASE)
    for libraries in prefix.glob("lib*/python3*/site-packages"):
        for entry in os.listdir(libraries):
            match = pattern.fullmatch(entry)
            if match:
                return match[1]
    return None


def _folder_version(prefix: Path, name: str) -> str:
    """DATA/engines/NAME-VERSION says it; elsewhere nobody does without running the program."""
    stem, _, version = prefix.name.partition("-")
    return version if stem == name and version else _UNKNOWN


def _prefixes(engines_dir: Path, given: Iterable[Path], search_path: str) -> Iterator[Path]:
    if engines_dir.is_dir():
        yield from sorted(path for path in engines_dir.iterdir() if path.is_dir())
    for path in given:
        yield path.expanduser().absolute()
    for entry in search_path.split(os.pathsep):
        folder = Path(entry)
        if folder.is_absolute() and folder.name == "bin":
            yield folder.parent
