"""What a Hugging Face config.json says, in the spellings of transformers 4 and 5 and of older model families."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from model_variants.headers.bounded import UnreadableModel, positive, read_at_most, read_json

CONFIG_LIMIT = 4 * 2**20
TOKENIZER_LIMIT = 24 * 2**20

# As vLLM takes it: the smallest of these that are there, except that model_max_length in the config wins.
_CONTEXT = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_target_positions",
    "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
_LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
_HEADS = ("num_attention_heads", "n_heads", "n_head")
_KV_HEADS = ("num_key_value_heads", "n_head_kv", "num_kv_heads", "multi_query_group_num", "num_attention_groups")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_ENCODERS = frozenset(
    {"bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "nomic_bert", "modernbert", "deberta-v2", "albert", "electra", "camembert"}
)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The part of ModelFacts that config.json answers; None where it does not."""

    architecture: str | None = None
    model_type: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    context_length: int | None = None
    layers: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    kv_lora_rank: int | None = None
    rope_head_dim: int | None = None
    vocabulary: int | None = None
    embedding: bool = False
    vision: bool = False


def read_config(path: Path) -> Shape:
    """Raises UnreadableModel where it is no JSON object; fields of a wrong type are as if they were not there."""
    whole = read_json(path, CONFIG_LIMIT)
    text = next((whole[key] for key in ("text_config", "llm_config", "language_config") if isinstance(whole.get(key), dict)), whole)
    heads, hidden = _first(text, _HEADS), _first(text, _HIDDEN)
    architecture, kind = _architecture(whole), _word(whole.get("model_type")) or _word(text.get("model_type"))
    return Shape(
        architecture=architecture,
        model_type=kind,
        dtype=_dtype(text) or _dtype(whole),
        quantization=_quantization(whole) or _quantization(text),
        context_length=_context(text),
        layers=_first(text, _LAYERS),
        heads=heads,
        kv_heads=_first(text, _KV_HEADS) or heads,
        head_dim=_first(text, ("head_dim", "hidden_size_per_head")) or (hidden // heads if hidden and heads else None),
        kv_lora_rank=_first(text, ("kv_lora_rank",)),
        rope_head_dim=_first(text, ("qk_rope_head_dim",)),
        vocabulary=_first(text, ("vocab_size",)),
        embedding=kind in _ENCODERS and not (architecture or "").endswith(("ForMaskedLM", "ForCausalLM")),
        vision=isinstance(whole.get("vision_config"), dict) or "visual" in whole,
    )


def has_chat_template(folder: Path, names: list[str]) -> bool:
    """Old models keep it in tokenizer_config.json, newer ones in a file of its own."""
    if "chat_template.jinja" in names or "chat_template.json" in names:
        return True
    if "tokenizer_config.json" not in names:
        return False
    data = read_at_most(folder / "tokenizer_config.json", TOKENIZER_LIMIT)
    try:
        return msgspec.json.decode(data, type=_Tokenizer).chat_template not in (msgspec.Raw(b""), msgspec.Raw(b"null"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableModel(f"tokenizer_config.json is no valid JSON: {str(error)[:120]}") from None


class _Tokenizer(msgspec.Struct):
    chat_template: msgspec.Raw = msgspec.Raw(b"")


def _first(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((number for name in names if (number := positive(config.get(name)))), None)


def _context(config: dict[str, Any]) -> int | None:
    own = positive(config.get("model_max_length"))
    return own or min((n for name in _CONTEXT if (n := positive(config.get(name)))), default=None)


def _architecture(config: dict[str, Any]) -> str | None:
    names = config.get("architectures")
    return _word(names[0]) if isinstance(names, list) and names else None


def _dtype(config: dict[str, Any]) -> str | None:
    return _word(config.get("dtype")) or _word(config.get("torch_dtype"))


def _quantization(config: dict[str, Any]) -> str | None:
    given = config.get("quantization_config") or config.get("compression_config")
    return _word(given.get("quant_method")) if isinstance(given, dict) else None


def _word(value: object) -> str | None:
    """Text short enough to be a name; facts are published, so nothing longer gets in."""
    return value if isinstance(value, str) and 0 < len(value) <= 100 else None
