"""Documents from files: `-f FILE|DIR|-`, all of them checked before anything is done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stoker.errors import InvalidRequest, InvalidSpec

if TYPE_CHECKING:
    from stoker.specs import ServiceSpec

SUFFIXES = (".yaml", ".yml", ".json")
MOST_BYTES = 256 * 1024
MOST_FILES = 1_000


class Read(NamedTuple):
    """A service's spec and where it stands, as `file:line`."""

    spec: ServiceSpec
    where: str


def read_services(names: list[str]) -> list[Read]:
    """The services of all documents in their order. Raises InvalidSpec with file, line and field, InvalidRequest."""
    from stoker.specs import ServiceSpec

    found: list[Read] = []
    for file, text in _texts(names):
        for document in _parse(file, text):
            where = f"{file}:{document.line}" if document.line else file
            if not isinstance(document.spec, ServiceSpec):
                raise InvalidSpec(
                    f"{where}: kind {document.kind} is not there in this version of Stoker, which knows kind service", param="kind"
                )
            found.append(Read(document.spec, where))
    first: dict[str, str] = {}
    for read in found:
        if read.spec.name in first:
            raise InvalidSpec(
                f"{read.where}: name: the service {read.spec.name} is there twice, first in {first[read.spec.name]}", param="name"
            )
        first[read.spec.name] = read.where
    return found


def _parse(file: str, text: bytes):  # type: ignore[no-untyped-def]
    from stoker.specs import parse_documents

    try:
        return parse_documents(text)
    except InvalidSpec as error:
        message = error.message
        if error.line is not None:
            message = message.removeprefix(f"line {error.line}: ")
            raise InvalidSpec(f"{file}:{error.line}: {message}", param=error.param, line=error.line) from error
        raise InvalidSpec(f"{file}: {message}", param=error.param) from error


def _texts(names: list[str]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for name in names:
        found += [("stdin", sys.stdin.buffer.read(MOST_BYTES + 1))] if name == "-" else [(str(f), _bytes(f)) for f in _files(Path(name))]
    return found


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InvalidRequest(f"there is no file or folder {path}; name one with -f, or - for stdin")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if not files:
        raise InvalidRequest(f"there is no {', '.join(SUFFIXES)} file in {path}")
    if len(files) > MOST_FILES:
        raise InvalidRequest(f"there are more than {MOST_FILES} files in {path}; apply them in parts")
    return files


def _bytes(path: Path) -> bytes:
    """At most one byte more than a document may have: the parser says what is wrong with that."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
