"""From text to specs and back: YAML or JSON in, one validated spec per document out."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, NamedTuple

from stoker.errors import InvalidSpec
from stoker.specs.complaints import Lines, complaint, line_of_path, printable
from stoker.specs.kinds import PresetSpec, ProjectSpec, ResourceGroupSpec
from stoker.specs.root import MAX_DIGITS
from stoker.specs.service import ServiceSpec
from stoker.specs.strict_yaml import MAX_BYTES, load

Spec = ServiceSpec | ProjectSpec | ResourceGroupSpec | PresetSpec


class Document(NamedTuple):
    """One document of a file: its spec, the line it begins at (None for JSON), and the lines of its fields where known."""

    spec: Spec
    line: int | None = None
    lines: Lines = MappingProxyType({})

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def name(self) -> str:
        return self.spec.name

    def placed(self, error: InvalidSpec) -> InvalidSpec:
        """What was refused only after the form was read, with the field and its line like every other refusal."""
        if error.line is not None or error.param is None:
            return error
        line = line_of_path(error.param, self.lines)
        field = "" if error.message.startswith(error.param) else f"{error.param}: "
        return InvalidSpec(f"{f'line {line}: ' if line else ''}{field}{error.message}", param=error.param, line=line)


def parse_documents(text: str | bytes) -> list[Document]:
    """The documents of a YAML stream, or the one of a JSON text, at least one. Raises InvalidSpec, whatever the bytes."""
    try:
        loaded = load(text)
    except InvalidSpec as refusal:
        try:
            value = _json_value(text)  # JSON is YAML but for a few escapes, such as those of emoji
        except InvalidSpec:
            raise refusal from None
        return [Document(read_spec(value, {}))]
    documents = [Document(read_spec(value, lines), lines.get(()), lines) for value, lines in loaded]
    if not documents:
        raise InvalidSpec("there is no document in it; a service needs at least name and model")
    _check_unique(documents)
    return documents


def parse_json(text: str | bytes) -> Document:
    """The one document of a JSON text. Raises InvalidSpec, without a line."""
    return Document(read_spec(_json_value(text), {}))


def _json_value(text: str | bytes) -> Any:
    if len(text) > MAX_BYTES:
        raise InvalidSpec(f"the document is larger than {MAX_BYTES // 1024} KiB")
    try:
        text = text.decode() if isinstance(text, bytes) else text
        return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant, parse_int=_bounded_int)
    except UnicodeDecodeError:
        raise InvalidSpec("the document is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InvalidSpec(f"line {error.lineno}: the document is not valid JSON: {error.msg}", line=error.lineno) from None
    except RecursionError:
        raise InvalidSpec("the document is nested too deeply") from None
    except ValueError as error:
        raise InvalidSpec(f"the document is not valid JSON: {error}") from None


def read_spec(value: object, lines: Lines) -> Spec:
    """The spec of plain values by its `kind`, which is a service where none is given."""
    kind = value.get("kind") if isinstance(value, dict) else None
    match "service" if kind is None else kind:
        case "service":
            return ServiceSpec.from_json(value, lines)
        case "project":
            return ProjectSpec.from_json(value, lines)
        case "resource_group":
            return ResourceGroupSpec.from_json(value, lines)
        case "preset":
            return PresetSpec.from_json(value, lines)
    raise complaint(("kind",), "must be one of service, project, resource_group, preset", lines)


def _check_unique(documents: list[Document]) -> None:
    seen: dict[tuple[str, str], int | None] = {}
    for document in documents:
        key = (document.kind, document.name)
        if key in seen:
            place = f"line {document.line}: " if document.line else ""
            sentence = f"{place}the {document.kind} {document.name} is there twice, first in line {seen[key]}"
            raise InvalidSpec(sentence, param="name", line=document.line)
        seen[key] = document.line


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{printable(key[:40])} is given twice")
        found[key] = value
    return found


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS + 1:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")
