"""From a failed validation to one sentence with the field's path and, where known, its line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from stoker.errors import InvalidSpec
from stoker.specs.fields import Deeper

_PREDICATES = frozenset({"must", "is", "has", "contains", "works"})
"""Sentences that begin so are said of the field; others are sentences of their own, behind a colon."""

_RANKS = {"extra_forbidden": 0, "missing": 2}
"""Which of several failures is told; the others have 1."""

Steps = tuple[str | int, ...]
Lines = Mapping[Steps, int]


def printable(text: str) -> str:
    """The text with everything escaped that could move a cursor or break a line."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def path_of(steps: Steps) -> str:
    """`resources.gpu`, `env.FOO`, `mounts[0].source`."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    path = printable(path)
    return path if len(path) <= 200 else path[:200] + "…"


def line_of(steps: Steps, lines: Lines) -> int | None:
    """The line of the field, or of the nearest block around it."""
    for length in range(len(steps), -1, -1):
        if steps[:length] in lines:
            return lines[steps[:length]]
    return None


def line_of_path(path: str, lines: Lines) -> int | None:
    """The same of a field by its path, as `param` names it."""
    found = [steps for steps in lines if path == path_of(steps) or path.startswith((f"{path_of(steps)}.", f"{path_of(steps)}["))]
    return line_of(max(found, key=len, default=()), lines)


def complaint(steps: Steps, sentence: str, lines: Lines) -> InvalidSpec:
    """One sentence: where, then what is wrong with it and what to write."""
    path, line = path_of(steps), line_of(steps, lines)
    place = f"line {line}: " if line is not None else ""
    subject = path or "the document"
    joint = " " if sentence.split(" ", 1)[0] in _PREDICATES else ": "
    return InvalidSpec(f"{place}{subject}{joint}{printable(sentence)}", param=path or None, line=line)


def from_validation(error: ValidationError, model: type[BaseModel], lines: Lines) -> InvalidSpec:
    """The most useful of the failures: unknown fields first, since a misspelt one also makes another one missing."""
    details = error.errors(include_url=False, include_input=False)
    first = min(details, key=lambda detail: (_RANKS.get(detail["type"], 1), line_of(tuple(detail["loc"]), lines) or 0))
    steps, sentence = _read(first, model)
    return complaint(steps, sentence, lines)


def _read(detail: Any, model: type[BaseModel]) -> tuple[Steps, str]:
    """(path, sentence) of one of pydantic's failures."""
    steps: Steps = tuple(detail["loc"])
    context = detail.get("ctx", {})
    cause = context.get("error")
    match detail["type"]:
        case "extra_forbidden":
            return steps, _unknown(steps, model)
        case "missing":
            return steps, "is missing"
        case "value_error" if isinstance(cause, Deeper):
            return (*steps, *cause.path), str(cause)
        case "value_error":
            return steps, str(cause)
        case "literal_error":
            return steps, f"must be one of {context['expected']}".replace("'", "").replace(" or ", ", ")
        case "too_long":
            return steps, f"has more than {context['max_length']} entries"
        case "tuple_type" | "list_type":
            return steps, "must be a list, as in [one, two]"
    return steps, f"is wrong: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _unknown(steps: Steps, model: type[BaseModel]) -> str:
    """That there is no such field, with the one that was probably meant, or the few that there are."""
    known = list(_fields_at(steps[:-1], model))
    near = difflib.get_close_matches(str(steps[-1])[:100].replace("-", "_").lower(), known, n=1, cutoff=0.6)
    if near:
        return f"is no field; did you mean {near[0]}?"
    return f"is no field; there {'is' if len(known) == 1 else 'are'} {', '.join(known)}" if 0 < len(known) <= 8 else "is no field"


def _fields_at(steps: Steps, model: type[BaseModel]) -> tuple[str, ...]:
    """The field names of the block at `steps`, () where it cannot be told."""
    current: type[BaseModel] | None = model
    for step in steps:
        if isinstance(step, int):
            continue
        field = current.model_fields.get(step) if current else None
        current = _model_in(field.annotation) if field else None
    return tuple(current.model_fields) if current else ()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model_in(part))), None)
