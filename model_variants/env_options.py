"""Options that users of other platforms give as environment variables: VLLM_TP_SIZE, SGLANG_QUANTIZATION and their like."""

from __future__ import annotations

import shlex
from typing import Any

from model_variants.base import Unsuitable
from stoker.specs import SecretRef, ServiceSpec

_WORDS = {"QUANTIZATION": "quantization", "TP_SIZE": "tensor_parallel_size", "PP_SIZE": "pipeline_parallel_size"}


def with_environment(spec: ServiceSpec, prefix: str) -> dict[str, Any]:
    """The spec's options over those of `PREFIX_*` in its env."""
    found = {option: value for word, option in _WORDS.items() if (value := _text(spec, f"{prefix}_{word}"))}
    return {**found, **spec.options}


def extra_args(spec: ServiceSpec, prefix: str) -> tuple[str, ...]:
    """`PREFIX_EXTRA_ARGS`, split as a shell would split it, without a shell. Raises Unsuitable for an open quote."""
    text = _text(spec, f"{prefix}_EXTRA_ARGS")
    try:
        return tuple(shlex.split(text)) if text else ()
    except ValueError as error:
        raise Unsuitable("model_unsupported", f"env {prefix}_EXTRA_ARGS cannot be split into words: {error}") from None


def _text(spec: ServiceSpec, name: str) -> str | None:
    value = spec.env.get(name)
    return None if value is None or isinstance(value, SecretRef) else value
