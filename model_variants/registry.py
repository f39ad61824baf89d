"""Every variant there is: the built-in ones in one literal table, third parties' by the entry-point group `stoker.model_variants`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from pydantic import BaseModel

from model_variants.base import Variant
from model_variants.command import Command
from model_variants.custom import Custom
from model_variants.demo import Demo
from model_variants.infinity import Infinity
from model_variants.llama_cpp import LlamaCpp
from model_variants.lmdeploy import Lmdeploy
from model_variants.max import Max
from model_variants.nim import Nim
from model_variants.ollama import Ollama
from model_variants.sglang import Sglang
from model_variants.tei import Tei
from model_variants.tensorrt_llm import TensorRtLlm
from model_variants.tgi import Tgi
from model_variants.transformers import Transformers
from model_variants.triton import Triton
from model_variants.vllm import Vllm
from stoker.errors import ConfigurationError

GROUP = "stoker.model_variants"
BUILT_IN: tuple[type[Variant], ...] = (
    Demo,
    Command,
    Custom,
    Vllm,
    Sglang,
    Transformers,
    LlamaCpp,
    Ollama,
    Tgi,
    TensorRtLlm,
    Lmdeploy,
    Max,
    Nim,
    Triton,
    Tei,
    Infinity,
)
_ABSENT = object()
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PARTS: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("name", lambda it: isinstance(it, str) and bool(_NAME.fullmatch(it)), "must be lower-case letters, digits and _"),
    ("title", lambda it: isinstance(it, str) and bool(it), "must be text"),
    ("aliases", lambda it: isinstance(it, tuple) and all(isinstance(word, str) for word in it), "must be a tuple of names"),
    ("engine", lambda it: isinstance(it, str | None), "must be text or None"),
    ("image", lambda it: isinstance(it, str | None), "must be text or None"),
    ("needs_gpu", lambda it: isinstance(it, bool), "must be True or False"),
    ("options", lambda it: isinstance(it, type) and issubclass(it, BaseModel), "must be a class of pydantic's BaseModel"),
    ("accepts", callable, "must be a method"),
    ("resolve", callable, "must be a method"),
    ("launch", callable, "must be a method"),
)


def load_variants(found: Iterable[EntryPoint] | None = None) -> Mapping[str, Variant]:
    """By name. `found` is what to take instead of the installed entry points (tests). Raises ConfigurationError for
    a name or alias that two variants bear, and for a plug-in that cannot be imported or lacks a part.
    """
    table: dict[str, Variant] = {}
    for kind in BUILT_IN:
        _add(table, kind(), "built in")
    for point in entry_points(group=GROUP) if found is None else found:
        _add(table, _load(point), f"entry point {point.name} = {point.value}")
    return MappingProxyType(table)


def _load(point: EntryPoint) -> Variant:
    try:
        loaded = point.load()
        variant: Variant = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        raise ConfigurationError(f"variant plug-in {point.name} = {point.value} cannot be loaded: {error}") from error
    return variant


def _add(table: dict[str, Variant], variant: Variant, origin: str) -> None:
    problem = malformed(variant)
    if problem:
        raise ConfigurationError(f"variant plug-in ({origin}) is malformed: {problem}")
    taken = {word for other in table.values() for word in (other.name, *other.aliases)}
    for word in (variant.name, *variant.aliases):
        if word in taken or word == "auto":
            raise ConfigurationError(f"two variants are named {word}; the second is {origin}: remove one of them")
    table[variant.name] = variant


def malformed(variant: object) -> str | None:
    """What a variant lacks of the protocol, in a sentence; None if it is whole."""
    for word, right, sentence in _PARTS:
        if not right(getattr(variant, word, _ABSENT)):
            return f"{word} {sentence}"
    return None
