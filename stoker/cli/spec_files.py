"""Documents from files: `-f FILE|DIR|-`, all of them checked before anything is done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stoker.errors import InvalidRequest, InvalidSpec

if TYPE_CHECKING:
    from stoker.specs import Document, ServiceSpec

SUFFIXES = (".yaml", ".yml", ".json")
MOST_BYTES = 256 * 1024
MOST_FILES = 1_000


class Read(NamedTuple):
    """A service's spec, where it stands as `file:line`, and the document that it was read from."""

    spec: ServiceSpec
    where: str
    file: str
    document: Document

    def refused(self, error: InvalidSpec) -> InvalidSpec:
        """What a router refused, with file, line and field."""
        message = error.message.removeprefix(f"line {error.line}: ")  # of the one line of JSON that was sent
        return _in_file(self.file, self.document.placed(InvalidSpec(message, param=error.param)))


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
            found.append(Read(document.spec, where, file, document))
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
        raise _in_file(file, error) from error


def _in_file(file: str, error: InvalidSpec) -> InvalidSpec:
    """The complaint about a document, with `file:line` in front."""
    if error.line is None:
        return InvalidSpec(f"{file}: {error.message}", param=error.param)
    message = error.message.removeprefix(f"line {error.line}: ")
    return InvalidSpec(f"{file}:{error.line}: {message}", param=error.param, line=error.line)


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
