"""How much GPU memory a model needs: weights / (tensor · pipeline) + KV cache + overhead, each term shown.

KV bytes per token are 2 · layers · KV heads · head size · bytes of one number (keys and values). With MLA (`kv_lora_rank`)
one latent of kv_lora_rank + rope_head_dim per layer is kept, and every device of a tensor-parallel group keeps all of it. For
sliding-window, hybrid and Mamba layers this is an upper bound.
"""

from __future__ import annotations

import msgspec

from model_variants.facts import ModelFacts
from stoker.resources import format_size

GIB = 2**30
_BYTES = {"float32": 4, "float": 4, "F32": 4, "float8_e4m3fn": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "int8": 1}
TENSOR_SIZES = (1, 2, 4, 8, 16)


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant wants of the GPUs: `context` tokens (None: the model's own) for `sequences` at once, plus `overhead` bytes
    for activations, graphs and the runtime itself. `tensor` says that it can split a model over devices, by heads where `by_heads`.
    `utilization` is the part of a device that the engine lets itself use. `gpus` is a number that the options fix.
    """

    context: int | None = None
    sequences: int = 1
    overhead: int = GIB
    kv_dtype: str | None = None
    tensor: bool = False
    by_heads: bool = True
    pipeline: int = 1
    gpus: int | None = None
    utilization: float = 1.0
    on_cpu: bool = False


class Estimate(msgspec.Struct, frozen=True):
    """Bytes on each of `gpus` devices, by term."""

    gpus: int
    terms: tuple[tuple[str, int], ...]

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.terms)

    def sentence(self) -> str:
        """`14.2GiB: weights 12GiB, KV cache 1.2GiB, overhead 1GiB`."""
        return f"{format_size(self.bytes)}: " + ", ".join(f"{term} {format_size(size)}" for term, size in self.terms)


def kv_bytes_per_token(facts: ModelFacts, *, tensor: int = 1, dtype: str | None = None) -> int:
    """Bytes of cache for one token on one device; 0 where the files do not say."""
    each = _BYTES.get(dtype or facts.dtype or "", 2)
    if not facts.layers:
        return 0
    if facts.kv_lora_rank:
        return facts.layers * (facts.kv_lora_rank + (facts.rope_head_dim or 0)) * each
    if not facts.kv_heads or not facts.head_dim:
        return 0
    return 2 * facts.layers * max(1, facts.kv_heads // tensor) * facts.head_dim * each


def estimate(facts: ModelFacts, demand: Demand, gpus: int) -> Estimate:
    """What each of `gpus` devices would hold."""
    tensor = max(1, gpus // demand.pipeline)
    tokens = (demand.context or facts.context_length or 0) * demand.sequences
    cache = kv_bytes_per_token(facts, tensor=tensor, dtype=demand.kv_dtype) * tokens // demand.pipeline
    terms = [("weights", -(-facts.weight_bytes // gpus)), ("KV cache", cache), ("overhead", demand.overhead)]
    used = sum(size for _, size in terms)
    if demand.utilization < 1:
        terms.append(("left free", int(used / demand.utilization) - used))
    return Estimate(gpus, tuple(terms))


def split_problem(facts: ModelFacts, demand: Demand, gpus: int) -> str | None:
    """None if the model can be spread over `gpus` devices, else a sentence with numbers that would do."""
    if gpus <= 1:
        return None
    if not demand.tensor:
        return f"this engine uses one GPU per session, not {gpus}: leave `gpu` at 1, and raise `replicas` for more"
    if gpus % demand.pipeline:
        return f"{gpus} GPUs cannot be {demand.pipeline} pipeline stages"
    tensor = gpus // demand.pipeline
    if not demand.by_heads or _divides(facts, tensor):
        return None
    good = ", ".join(str(n * demand.pipeline) for n in TENSOR_SIZES if _divides(facts, n))
    return f"{facts.heads} attention heads ({facts.kv_heads} for keys and values) cannot be split over {tensor} GPUs; {good} would do"


def _divides(facts: ModelFacts, tensor: int) -> bool:
    """Heads must divide evenly; KV heads too, or be copied evenly. Unknown heads are not held against the model."""
    if facts.heads and facts.heads % tensor:
        return False
    if not facts.kv_heads or facts.kv_lora_rank:
        return True
    return facts.kv_heads % tensor == 0 or (tensor >= facts.kv_heads and tensor % facts.kv_heads == 0)


def fewest(facts: ModelFacts, demand: Demand, memory: int, limit: int) -> Estimate | None:
    """The smallest number of devices of `memory` bytes each, at most `limit`, on which the model fits; None if on none."""
    for tensor in TENSOR_SIZES if demand.tensor else (1,):
        gpus = tensor * demand.pipeline
        if gpus <= limit and demand.gpus in (None, gpus) and split_problem(facts, demand, gpus) is None:
            found = estimate(facts, demand, gpus)
            if found.bytes <= memory:
                return found
    return None
