"""Commands against what the engines themselves say of their options: the recorded --help of the version in the file's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from model_variants.facts import ModelFacts
from model_variants.registry import load_variants
from model_variants.resolve import resolve
from tests.support.launches import GGUF, LLAMA_8B, SENTENCES, launch, site, spec

HELP = Path(__file__).with_name("help")
VARIANTS = load_variants([])

# Every option of the variant that this engine knows, with a value other than its default.
CASES: list[tuple[str, str, ModelFacts, dict[str, Any]]] = [
    (
        "infinity", "infinity-0.0.78", SENTENCES,
        {"backend": "optimum", "device": "cuda", "dtype": "float16", "batch_size": 8, "bettertransformer": True},
    ),
    ("infinity", "infinity-0.0.78", SENTENCES, {}),
    (
        "transformers", "transformers-5.23.0", LLAMA_8B,
        {"device": "cuda:0", "dtype": "float16", "continuous_batching": True, "attn_implementation": "sdpa", "trust_remote_code": True},
    ),
    (
        "llama_cpp", "llama_cpp_python-0.3.36", GGUF,
        {"context_length": 64, "gpu_layers": -1, "threads": 2, "batch_size": 8, "chat_format": "chatml"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("variant", "recorded", "facts", "options"), CASES)
def test_every_flag_is_one_that_the_engine_names(variant: str, recorded: str, facts: ModelFacts, options: dict[str, Any]) -> None:
    known = set(re.findall(r"--[A-Za-z0-9][\w-]*", (HELP / f"{recorded}.txt").read_text()))
    assert len(known) > 15, "the recording is whole"
    engine, _, version = recorded.rpartition("-")
    given = spec(variant=variant, options=options)
    argv = VARIANTS[variant].launch(launch(given, resolve(given, facts, site(f"{engine}=={version}"), VARIANTS))).argv
    used = {word.partition("=")[0] for word in argv if word.startswith("--")}
    assert len(used) >= 5 and used <= known, f"unknown to {recorded}: {sorted(used - known)}"


def test_no_option_is_forgotten() -> None:
    """The llama-server options that llama-cpp-python lacks are named as such in their descriptions."""
    for variant in ("infinity", "transformers", "llama_cpp"):
        tried = {name for case in CASES if case[0] == variant for name in case[3]}
        for name, field in VARIANTS[variant].options.model_fields.items():
            assert name in tried or "(llama-server)" in (field.description or ""), f"{variant}: {name}"
