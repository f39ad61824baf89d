"""The arithmetic of memory on models that everybody knows: their published sizes are what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_variants.facts import ModelFacts
from model_variants.memory import Demand, estimate, fewest, kv_bytes_per_token, split_problem
from model_variants.reading import read_facts
from tests.support.known_models import Known, folder, models
from tests.support.tiny_models import GGUF_VALUES, gguf

GIB = 2**30


@pytest.mark.parametrize("model", list(models()), ids=lambda model: model.name)
def test_weights_and_cache_are_the_published_ones(model: Known, tmp_path: Path) -> None:
    facts = read_facts(folder(model, tmp_path / model.name))
    assert facts.weight_bytes == pytest.approx(model.weight_bytes, rel=0.02)
    assert kv_bytes_per_token(facts) == model.kv_bytes
    assert facts.layers == model.config["num_hidden_layers"] and facts.context_length == model.config["max_position_embeddings"]
    terms = dict(estimate(facts, Demand(context=1000, tensor=True), 1).terms)
    assert terms["weights"] == facts.weight_bytes and terms["KV cache"] == 1000 * model.kv_bytes


def test_a_gguf_of_llama_2_7b(tmp_path: Path) -> None:
    """Q4_0 with the output in Q6_K, as llama-2-7b.Q4_0.gguf is: 3,825,807,040 bytes."""
    values = {**GGUF_VALUES, "llama.context_length": 4096, "llama.block_count": 32, "llama.embedding_length": 4096}
    values |= {"llama.attention.head_count": 32, "llama.attention.head_count_kv": 32}
    tensors: dict[str, tuple[int, list[int]]] = {"token_embd.weight": (2, [4096, 32000]), "output.weight": (14, [4096, 32000])}
    for at in range(32):
        tensors |= {f"blk.{at}.{name}": (2, [4096, 4096]) for name in "qkvo"}
        tensors |= {f"blk.{at}.{name}": (2, [4096, 11008]) for name in ("gate", "up", "down")}
        tensors |= {f"blk.{at}.{name}": (0, [4096]) for name in ("norm1", "norm2")}
    path = gguf(tmp_path / "llama-2-7b.Q4_0.gguf", values, tensors)
    with path.open("ab") as file:
        file.truncate(3_825_807_040)
    facts = read_facts(path)
    assert facts.weight_bytes == pytest.approx(3_825_807_040, rel=0.02)
    assert kv_bytes_per_token(facts) == 2 * 32 * 32 * 128 * 2 and facts.quantization == "ggml-2"


def test_vllm_reports_as_many_tokens_as_we_count() -> None:
    """vLLM, given 1 GiB for 2 layers of 2 KV heads of 64 in bfloat16, reported 1,048,576 tokens."""
    facts = ModelFacts(kind="hf", layers=2, heads=4, kv_heads=2, head_dim=64, dtype="bfloat16")
    assert GIB // kv_bytes_per_token(facts) == 1_048_576
    assert GIB // kv_bytes_per_token(facts, dtype="fp8") == 2_097_152


def test_how_many_gpus_they_need(tmp_path: Path) -> None:
    """A GPU of 80 GiB each: what one knows from practice."""
    known = {model.name: model for model in models()}

    def gpus(name: str, context: int, memory: int = 80 * GIB) -> int | None:
        facts = read_facts(folder(known[name], tmp_path / name))
        found = fewest(facts, Demand(context=context, tensor=True, overhead=2 * GIB, utilization=0.92), memory, 16)
        return found.gpus if found else None

    assert gpus("Meta-Llama-3-8B", 8192) == 1
    assert gpus("Meta-Llama-3-70B", 8192) == 2
    assert gpus("Mixtral-8x7B-v0.1", 32768) == 2
    assert gpus("Qwen3-32B", 40960, 40 * GIB) == 4, "2 hold the weights, not the cache as well"
    assert gpus("DeepSeek-V3", 16384) == 16
    assert gpus("gemma-2-9b-it", 8192, 24 * GIB) == 1, "17.2 GiB of weights, 2.6 GiB of cache, 2 GiB beside, 8 % left free: 23.7"


def test_the_latent_of_mla_is_on_every_gpu_and_heads_are_shared_out() -> None:
    latent = ModelFacts(kind="hf", layers=61, heads=128, kv_heads=128, kv_lora_rank=512, rope_head_dim=64, dtype="bfloat16")
    assert kv_bytes_per_token(latent, tensor=8) == kv_bytes_per_token(latent) == 70_272
    grouped = ModelFacts(kind="hf", layers=32, heads=32, kv_heads=8, head_dim=128, dtype="bfloat16")
    assert [kv_bytes_per_token(grouped, tensor=n) for n in (1, 2, 8, 16)] == [131_072, 65_536, 16_384, 16_384]
    assert split_problem(grouped, Demand(tensor=True), 3) is not None and split_problem(grouped, Demand(tensor=True), 16) is None
