"""What is known about a model from its files, without loading it. A node reads them, the scheduler decides from them."""

from __future__ import annotations

import msgspec


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one model folder or file on one node. Sizes in bytes, lengths in tokens; None where the files don't say.

    kind: `builtin` (the demo's own text), `text` (a folder of plain text), `hf`, `sentence_transformers`, `gguf`, `triton`,
    `lora`, `definition` (model-definition.yaml), `empty`, `unknown`. `digest` identifies the files by name, size and time.
    """

    kind: str
    path: str | None = None
    digest: str = ""
    architecture: str | None = None
    model_type: str | None = None
    parameters: int | None = None
    weight_bytes: int = 0
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
    chat_template: bool = False
    files: tuple[str, ...] = ()
    definition: str | None = None


BUILTIN = ModelFacts(kind="builtin", digest="builtin")
