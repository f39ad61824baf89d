"""The nearest changes to a spec whose model does not fit: less context, another number of GPUs. Each is tried as a whole spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from model_variants.base import Site, Unsuitable, Variant
from model_variants.choice import choose
from model_variants.facts import ModelFacts
from model_variants.resolve import resolve
from stoker.errors import InvalidSpec
from stoker.planning.need import need_of
from stoker.planning.placement import Search
from stoker.resources import WHOLE_GPU
from stoker.specs import ServiceSpec

_CONTEXT_OPTIONS = ("max_model_len", "context_length", "max_seq_len", "max_total_tokens", "session_len", "max_length")
_STEP = 1024
Fits = Callable[[ServiceSpec], str | None]
"""The node on which one session of a spec would fit now; None: on none. It answers, and never raises, for any spec."""


def alternatives(spec: ServiceSpec, facts: ModelFacts, site: Site, search: Search, variants: Mapping[str, Variant]) -> list[dict[str, str]]:
    """[{change, sentence}], at most one per field: `change` is what to write in the spec, and all of the spec would fit then."""

    def fits(changed: ServiceSpec) -> str | None:
        try:
            found = search.find(need_of(changed, 0, resolve(changed, facts, site, variants))).best
        except (Unsuitable, InvalidSpec):
            return None
        return found.node if found else None

    try:
        variant = variants[spec.variant] if spec.variant in variants else choose(spec, facts, site, variants)[0]
    except (Unsuitable, InvalidSpec):
        return []
    return [*_other_gpus(spec, fits), *_less_context(spec, variant, facts, fits)]


def _other_gpus(spec: ServiceSpec, fits: Fits) -> Iterator[dict[str, str]]:
    """The nearest number that does. Only where the spec names one: else the fewest that do were looked for already."""
    now = (spec.resources.gpu or 0) // WHOLE_GPU
    for wanted in sorted((2**power for power in range(5)), key=lambda count: (abs(count - now), count)) if now else ():
        node = fits(_with_gpus(spec, wanted)) if wanted != now else None
        if node is not None:
            word = "GPU" if wanted == 1 else "GPUs"
            yield {"change": f"resources.gpu: {wanted}", "sentence": f"with {wanted} {word} instead of {now} it would fit on {node}"}
            return


def _less_context(spec: ServiceSpec, variant: Variant, facts: ModelFacts, fits: Fits) -> Iterator[dict[str, str]]:
    """The longest context that fits, to the next 1024 tokens; what needs less memory fits where more does."""
    option = next((name for name in _CONTEXT_OPTIONS if name in variant.options.model_fields), None)
    said = spec.options.get(option, facts.context_length) if option else None
    if option is None or not isinstance(said, int):
        return
    low, high = 0, (said - 1) // _STEP
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_with_option(spec, option, middle * _STEP)) is None:
            high = middle - 1
        else:
            low = middle
    node = fits(_with_option(spec, option, low * _STEP)) if low else None
    if node is not None:
        what = f"with a context of {_thousands(low * _STEP)} tokens instead of {_thousands(said)} it would fit on {node}"
        yield {"change": f"options.{option}: {low * _STEP}", "sentence": what}


def _with_gpus(spec: ServiceSpec, gpus: int) -> ServiceSpec:
    said: dict[str, Any] = spec.to_json()
    return ServiceSpec.from_json({**said, "resources": {**said.get("resources", {}), "gpu": gpus}})


def _with_option(spec: ServiceSpec, option: str, value: int) -> ServiceSpec:
    said: dict[str, Any] = spec.to_json()
    return ServiceSpec.from_json({**said, "options": {**said.get("options", {}), option: value}})


def _thousands(tokens: int) -> str:
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else str(tokens)
