"""Questions about a model that several variants ask before they accept it."""

from __future__ import annotations

from model_variants.facts import ModelFacts

_GENERATING = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")
_FOLDERS = ("hf", "sentence_transformers")


def generates_text(facts: ModelFacts) -> str | None:
    """None for a Hugging Face text generator, else why it is none."""
    if facts.kind != "hf":
        return "it needs a Hugging Face folder (config.json and weights)"
    if facts.embedding or not (facts.architecture or "").endswith(_GENERATING):
        return f"it serves text generation; this model is {facts.architecture or 'of no named architecture'}"
    return None


def generates_or_embeds(facts: ModelFacts) -> str | None:
    """None for what servers such as vLLM take: text generators and embedding models."""
    if facts.kind in _FOLDERS and facts.embedding:
        return None
    return generates_text(facts)


def embeds(facts: ModelFacts) -> str | None:
    """None for an embedding model in a Hugging Face or sentence-transformers folder."""
    if facts.kind not in _FOLDERS or not facts.embedding:
        return "it serves embedding models in a Hugging Face or sentence-transformers folder"
    return None
