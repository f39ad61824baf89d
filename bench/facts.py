"""Reading the facts of a model: with an index that gives the size, and from the headers of 100 shards."""

from __future__ import annotations

import json
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.stack import milliseconds
from model_variants.reading import read_facts

SHARDS, LAYERS = 100, 80
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16", "hidden_size": 8192, "num_hidden_layers": LAYERS,
    "num_attention_heads": 64, "num_key_value_heads": 8, "max_position_embeddings": 8192, "vocab_size": 128_256,
}  # fmt: skip


def measure(rounds: int) -> dict[str, Any]:
    """The folder is of the shape of a 70B model in 100 files; the files are sparse. Bounds: 50 ms with the index, 1 s without."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        total = sum(_shard(folder / f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors", number) for number in range(SHARDS))
        headers = [_timed(folder, total) for _ in range(rounds)]
        names = {f"layers.{layer}.{part}": "model-00001-of-00100.safetensors" for layer in range(LAYERS) for part in range(9)}
        index = {"metadata": {"total_size": total}, "weight_map": names}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        indexed = [_timed(folder, total) for _ in range(rounds)]
    return {"with an index": milliseconds(indexed), "headers of 100 shards": milliseconds(headers)}


def _timed(folder: Path, total: int) -> float:
    start = time.perf_counter()
    facts = read_facts(folder)
    spent = time.perf_counter() - start
    assert facts.weight_bytes == total, "the figures would be of something else"
    return spent


def _shard(path: Path, number: int) -> int:
    """The bytes of its weights."""
    header, at = dict[str, Any](), 0
    for part in range(9):
        size = 2 * 8192 * 8192
        header[f"layers.{number}.part.{part}"] = {"dtype": "BF16", "shape": [8192, 8192], "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + at)
    return at
