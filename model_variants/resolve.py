"""The one question that the scheduler asks: what does this service start, given its model and what the nodes offer?"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from model_variants.base import Site, Unsuitable, Variant
from model_variants.choice import choose
from model_variants.facts import ModelFacts
from model_variants.options import problems
from stoker.errors import InvalidSpec
from stoker.records import Resolution
from stoker.specs import ServiceSpec


def resolve(spec: ServiceSpec, facts: ModelFacts, site: Site, variants: Mapping[str, Variant]) -> Resolution:
    """Everything that `auto` and the defaults leave open, with a `why`. Raises Unsuitable: `.reason` says what to change."""
    if spec.variant == "auto":
        variant, why = choose(spec, facts, site, variants)
        return msgspec.structs.replace(variant.resolve(spec, facts, site), why=why)
    variant = variants[spec.variant] if spec.variant in variants else _unknown(spec.variant, variants)
    refusal = variant.accepts(facts)
    if refusal:
        raise Unsuitable("model_unsupported", f"variant {variant.name} does not serve this model: {refusal}")
    return variant.resolve(spec, facts, site)


def check(spec: ServiceSpec, variants: Mapping[str, Variant]) -> None:
    """What can be said before any file is seen: the variant exists and its options are right. Raises InvalidSpec with `param`."""
    if spec.variant == "auto":
        return
    if spec.variant not in variants:
        raise InvalidSpec(f"there is no variant {spec.variant}; there are: auto, {', '.join(sorted(variants))}", param="variant")
    for option, sentence in problems(variants[spec.variant].options, spec.options):
        raise InvalidSpec(f"variant {spec.variant}, option {option}: {sentence}", param=f"options.{option}")


def _unknown(name: str, variants: Mapping[str, Variant]) -> Variant:
    raise Unsuitable("model_unsupported", f"there is no variant {name}; there are: {', '.join(sorted(variants))}")
