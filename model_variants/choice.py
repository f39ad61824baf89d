"""`variant: auto`: which variant serves this model here, why, and what else would have."""

from __future__ import annotations

from collections.abc import Mapping

from model_variants.base import Site, Unsuitable, Variant
from model_variants.facts import ModelFacts
from model_variants.runtime_choice import can_run, engine_names, same_engine
from stoker.specs import ServiceSpec

# In order of preference. What needs a GPU is passed over where there is none; what is not installed, where something else is.
PREFERENCES: Mapping[str, tuple[str, ...]] = {
    "builtin": ("demo",),
    "text": ("demo",),
    "hf": ("vllm", "sglang", "tensorrt_llm", "tgi", "max", "lmdeploy", "transformers", "tei", "infinity"),
    "sentence_transformers": ("infinity", "tei", "vllm", "sglang"),
    "gguf": ("llama_cpp", "ollama"),
    "triton": ("triton",),
    "definition": ("custom",),
    "empty": ("nim",),
}
_KINDS = {
    "builtin": "the built-in text",
    "text": "a folder of plain text",
    "hf": "a Hugging Face model",
    "sentence_transformers": "a sentence-transformers model",
    "gguf": "a GGUF model",
    "triton": "a Triton model repository",
    "definition": "a folder with a model-definition.yaml",
    "empty": "an empty folder, as NIM uses for its cache",
}


def choose(spec: ServiceSpec, facts: ModelFacts, site: Site, variants: Mapping[str, Variant]) -> tuple[Variant, str]:
    """The variant, and a sentence that says why. Raises Unsuitable for models that nothing here serves.

    1. a spec that brings its command or its image says more than the files do
    2. a model-definition.yaml was written on purpose
    3. the first in PREFERENCES that accepts the model and can run here;
       else the first that accepts it, whose resolve() says what is missing
    """
    asked = _from_spec(spec, variants)
    if asked:
        return asked
    if facts.kind == "lora":
        raise Unsuitable(
            "model_unsupported",
            "this is a LoRA adapter, not a whole model: serve its base model with variant vllm and `options: {lora_modules: [NAME=PATH]}`",
        )
    if facts.definition is not None and "custom" in variants:
        return variants["custom"], "the folder has a model-definition.yaml"
    accepting = [variants[name] for name in _ordered(facts, variants) if variants[name].accepts(facts) is None]
    if not accepting:
        raise Unsuitable("model_unsupported", _nothing_fits(facts, variants))
    runnable = [variant for variant in accepting if _has_devices(variant, site) and can_run(variant, spec, site)]
    chosen = (runnable or [variant for variant in accepting if _has_devices(variant, site)] or accepting)[0]
    return chosen, _why(facts, site, spec, chosen, accepting)


def _from_spec(spec: ServiceSpec, variants: Mapping[str, Variant]) -> tuple[Variant, str] | None:
    if spec.command:
        return variants["command"], "the spec brings its own command"
    name = (spec.engine or "").partition("==")[0]
    for variant in variants.values():
        if name and any(same_engine(name, own) for own in engine_names(variant)):
            return variant, f"the spec asks for the engine {spec.engine}"
    if spec.image:
        for variant in variants.values():
            if variant.image and _repository(variant.image) == _repository(spec.image):
                return variant, f"{spec.image} is an image of {variant.title}"
        return variants["command"], "the spec brings its own image"
    return None


def _repository(image: str) -> str:
    """The image without tag and digest: a colon after the last slash begins a tag."""
    path, slash, name = image.partition("@")[0].rpartition("/")
    return path + slash + name.partition(":")[0]


def _ordered(facts: ModelFacts, variants: Mapping[str, Variant]) -> list[str]:
    """Known preferences first, then third parties' variants by name."""
    preferred = PREFERENCES.get(facts.kind, ())
    known = {name for names in PREFERENCES.values() for name in names} | {"command", "custom"}
    return [name for name in preferred if name in variants] + sorted(name for name in variants if name not in known)


def _has_devices(variant: Variant, site: Site) -> bool:
    return bool(site.gpus) or not variant.needs_gpu


def _why(facts: ModelFacts, site: Site, spec: ServiceSpec, chosen: Variant, accepting: list[Variant]) -> str:
    what = _KINDS.get(facts.kind, "these files")
    if facts.architecture:
        what += f" ({facts.architecture})"
    others = [_or_else(variant, spec, site) for variant in accepting if variant is not chosen]
    return f"{what}: {chosen.name}" + (f"; would do too: {', '.join(others)}" if others else "; nothing else serves it")


def _or_else(variant: Variant, spec: ServiceSpec, site: Site) -> str:
    if not _has_devices(variant, site):
        return f"{variant.name} (needs a GPU)"
    return variant.name if can_run(variant, spec, site) else f"{variant.name} (not installed)"


def _nothing_fits(facts: ModelFacts, variants: Mapping[str, Variant]) -> str:
    if facts.kind == "unknown":
        seen = ", ".join(facts.files[:5]) or "nothing"
        return f"the folder holds no kind of model that is known (found: {seen}): name a `variant:`, or give a `command:`"
    why = "; ".join(f"{name}: {variants[name].accepts(facts)}" for name in _ordered(facts, variants))
    return f"no variant serves {_KINDS.get(facts.kind, facts.kind)}" + (f" ({why})" if why else "")
