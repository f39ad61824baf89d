"""Public models as their config.json and tensors are: shapes typed in from what their authors published, weights left out.

A file is as long as the real one and has its header, but holds no data: a sparse file takes no room.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Tensor = tuple[str, str, list[int]]
"""Name, dtype as in a safetensors header, shape."""

_BYTES = {"BF16": 2, "F32": 4, "F8_E4M3": 1}
SHARDS = 4


class Known(NamedTuple):
    """`weight_bytes` is what the index of the published files gives as total_size (of a GGUF: the file's length), `kv_bytes`
    the cache of one token: 2 · layers · KV heads · head size · 2 bytes, or the latent of MLA.
    """

    name: str
    config: dict[str, Any]
    tensors: list[Tensor]
    weight_bytes: int
    kv_bytes: int


def llama(
    hidden: int, layers: int, heads: int, kv_heads: int, inner: int, vocabulary: int, *, head: int | None = None, tied: bool = False,
    norms: int = 2, head_norms: bool = False, experts: int = 1,
) -> list[Tensor]:  # fmt: skip
    """The tensors of the family that nearly all follow, in bfloat16."""
    head = head or hidden // heads
    one: list[list[int]] = [[heads * head, hidden], [kv_heads * head, hidden], [kv_heads * head, hidden], [hidden, heads * head]]
    one += [[inner, hidden], [inner, hidden], [hidden, inner]] * experts
    one += [[experts, hidden]] if experts > 1 else []
    one += [[hidden]] * norms + ([[head]] * 2 if head_norms else [])
    outside = [[vocabulary, hidden], [hidden]] + ([] if tied else [[vocabulary, hidden]])
    return [(f"{at}.{number}", "BF16", shape) for at in range(layers) for number, shape in enumerate(one)] + [
        (f"outside.{number}", "BF16", shape) for number, shape in enumerate(outside)
    ]


def deepseek_v3() -> list[Tensor]:
    """61 layers and the one that predicts further tokens; weights in blocks of 128 x 128 with a scale each. Experts are put together."""
    found: list[Tensor] = []

    def block(name: str, rows: int, columns: int, count: int = 1) -> None:
        found.append((name, "F8_E4M3", [count, rows, columns]))
        found.append((f"{name}.scale", "F32", [count, -(-rows // 128), -(-columns // 128)]))

    for at in range(62):
        block(f"{at}.q_a", 1536, 7168)
        block(f"{at}.q_b", 128 * 192, 1536)
        block(f"{at}.kv_a", 576, 7168)
        block(f"{at}.kv_b", 128 * 256, 512)
        block(f"{at}.o", 7168, 128 * 128)
        if at < 3:
            block(f"{at}.mlp", 18432, 7168, 3)
        else:
            block(f"{at}.experts", 2048, 7168, 3 * 257)
            found.append((f"{at}.gate", "BF16", [256, 7168]))
    outside: list[Tensor] = [(f"{name}", "BF16", [129_280, 7168]) for name in ("embed", "head", "further.embed", "further.head")]
    return [*found, *outside, ("further.joined", "BF16", [7168, 2 * 7168])]


def folder(model: Known, path: Path) -> Path:
    """A Hugging Face folder of SHARDS files without an index."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(model.config))
    for number in range(SHARDS):
        _shard(path / f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors", model.tensors[number::SHARDS])
    return path


def _shard(path: Path, tensors: list[Tensor]) -> None:
    header, at = dict[str, Any](), 0
    for name, dtype, shape in tensors:
        size = _BYTES[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + at)


def models() -> Iterator[Known]:
    """Eight of them; the GGUF file has a test of its own."""
    usual = {"torch_dtype": "bfloat16"}
    yield Known(
        "Meta-Llama-3-8B",
        {**usual, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
         "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192,
         "vocab_size": 128_256},
        llama(4096, 32, 32, 8, 14336, 128_256), 16_060_522_496, 131_072,
    )  # fmt: skip
    yield Known(
        "Meta-Llama-3-70B",
        {**usual, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672,
         "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "max_position_embeddings": 8192,
         "vocab_size": 128_256},
        llama(8192, 80, 64, 8, 28672, 128_256), 141_107_412_992, 327_680,
    )  # fmt: skip
    yield Known(
        "Qwen3-32B",
        {**usual, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 25600,
         "num_hidden_layers": 64, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128,
         "max_position_embeddings": 40960, "vocab_size": 151_936, "tie_word_embeddings": False},
        llama(5120, 64, 64, 8, 25600, 151_936, head=128, head_norms=True), 65_524_246_528, 262_144,
    )  # fmt: skip
    yield Known(
        "Mixtral-8x7B-v0.1",
        {**usual, "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
         "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
         "max_position_embeddings": 32768, "vocab_size": 32_000, "sliding_window": None},
        llama(4096, 32, 32, 8, 14336, 32_000, experts=8), 93_405_585_408, 131_072,
    )  # fmt: skip
    yield Known(
        "DeepSeek-V3",
        {**usual, "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61,
         "num_attention_heads": 128, "num_key_value_heads": 128, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64,
         "qk_nope_head_dim": 128, "v_head_dim": 128, "max_position_embeddings": 163_840, "vocab_size": 129_280,
         "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
        deepseek_v3(), 688_586_727_753, 61 * (512 + 64) * 2,
    )  # fmt: skip
    yield Known(
        "gemma-2-9b-it",
        {**usual, "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "hidden_size": 3584, "intermediate_size": 14336,
         "num_hidden_layers": 42, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "sliding_window": 4096,
         "max_position_embeddings": 8192, "vocab_size": 256_000},
        llama(3584, 42, 16, 8, 14336, 256_000, head=256, tied=True, norms=4), 18_483_411_968, 344_064,
    )  # fmt: skip
    yield Known(
        "gemma-3-1b-it",
        {**usual, "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912,
         "num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "sliding_window": 512,
         "sliding_window_pattern": 6, "max_position_embeddings": 32768, "vocab_size": 262_144},
        llama(1152, 26, 4, 1, 6912, 262_144, head=256, tied=True, norms=4, head_norms=True), 1_999_771_904, 26_624,
    )  # fmt: skip
    yield Known(
        "Phi-3-mini-4k-instruct",
        {**usual, "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192,
         "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 4096,
         "sliding_window": 2047, "vocab_size": 32_064},
        llama(3072, 32, 32, 32, 8192, 32_064), 7_642_159_104, 393_216,
    )  # fmt: skip
