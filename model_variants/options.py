"""What a variant's `options:` may hold: base class, types, and reading them with errors that name the option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from model_variants.base import Unsuitable
from stoker.resources import parse_duration, parse_size


class Options(BaseModel):
    """Unknown options are refused: a misspelt one must not be silently without effect."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoOptions(Options):
    """For variants that have none."""


Duration = Annotated[float, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
Schema = TypeVar("Schema", bound=BaseModel)


def problems(schema: type[BaseModel], given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(option, sentence) for everything that is wrong with `given`; empty where it is right."""
    try:
        schema.model_validate(dict(given))
    except ValidationError as error:
        known = ", ".join(schema.model_fields) or "none"
        return [_sentence(detail["loc"], detail["type"], detail["msg"], known) for detail in error.errors(include_url=False)]
    return []


def read_options(variant: str, schema: type[Schema], given: Mapping[str, Any]) -> Schema:
    """The options with their defaults. Raises Unsuitable with the first that is wrong."""
    for option, sentence in problems(schema, given):
        raise Unsuitable("model_unsupported", f"variant {variant}, option {option}: {sentence}")
    return schema.model_validate(dict(given))


def _sentence(where: tuple[int | str, ...], kind: str, message: str, known: str) -> tuple[str, str]:
    path = ".".join(str(part) for part in where) or "options"
    if kind == "extra_forbidden":
        return path, f"there is no such option; there are: {known}"
    return path, message.removeprefix("Value error, ").removeprefix("Input should be ").strip()
