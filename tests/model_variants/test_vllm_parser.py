"""Every vLLM command that the variant makes goes through that version's own argument parser, all in one process."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from model_variants.base import Unsuitable
from model_variants.registry import load_variants
from model_variants.resolve import resolve
from tests.support.engine_envs import environment
from tests.support.launches import LLAMA_8B, SENTENCES, site, spec, words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

PARSE = """
import json, sys
from vllm.entrypoints.common.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser, refused = make_arg_parser(FlexibleArgumentParser(prog="vllm serve")), []
for argv in json.load(sys.stdin):
    try:
        found = parser.parse_args(argv)
        validate_parsed_serve_args(found)
        assert found.model_tag == argv[0] and found.port == 23456, "the model or the port was lost"
    except (SystemExit, Exception) as error:
        refused.append([argv, repr(error)])
print(json.dumps(refused))
"""
COMBINATIONS = 250


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "max_model_len": st.sampled_from([1, 4096, "auto"]),
        "tensor_parallel_size": st.sampled_from([1, 2, 4, 8]),
        "pipeline_parallel_size": st.sampled_from([1, 2]),
        "gpu_memory_utilization": st.sampled_from([0.5, 0.95, 1]),
        "max_num_seqs": st.integers(1, 4096),
        "max_num_batched_tokens": st.integers(1, 65536),
        "dtype": st.sampled_from(["auto", "bfloat16", "float16", "float32"]),
        "quantization": st.sampled_from(["awq", "gptq", "fp8", "compressed-tensors"]),
        "kv_cache_dtype": st.sampled_from(["auto", "fp8", "fp8_e5m2"]),
        "enable_prefix_caching": maybe(st.booleans()),
        "enforce_eager": st.booleans(),
        "trust_remote_code": st.booleans(),
        "chat_template": st.sampled_from(["{{ messages }}", "-{{ x }}"]),
        "tool_call_parser": st.sampled_from(["hermes", "llama3_json"]),
        "reasoning_parser": st.sampled_from(["deepseek_r1", "qwen3"]),
        "lora_modules": st.lists(st.sampled_from(["a=/lora/a", "b=/lora/b c"]), max_size=2, unique=True),
        "load_format": st.sampled_from(["auto", "safetensors", "dummy"]),
        "seed": st.integers(0, 2**31),
    },
)


def test_vllm_accepts_every_command(tmp_path: Path) -> None:
    prefix = environment("vllm-parser")
    variants, commands = load_variants([]), list[list[str]]()
    place = site("vllm==0.33.0", gpus=16)

    @settings(max_examples=2 * COMBINATIONS, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(OPTIONS, st.sampled_from([LLAMA_8B, SENTENCES]), st.lists(st.sampled_from(["a", "b c", "org/name"]), unique=True, max_size=3))
    def collect(options: dict[str, Any], facts: Any, names: list[str]) -> None:
        fields = spec(variant="vllm", options=options, model_name=names)
        try:
            resolution = resolve(fields, facts, place, variants)
        except Unsuitable:
            return
        argv = words(variants["vllm"], fields, resolution)
        if argv not in commands:
            commands.append(argv)

    collect()
    assert len(commands) >= 200, f"only {len(commands)} different commands were made"
    environ = {**os.environ, "VLLM_TARGET_DEVICE": "cpu", "HF_HUB_OFFLINE": "1"}
    given_words = json.dumps([*(argv[2:] for argv in commands), ["/data/llama", "--no-such-flag"]])
    done = subprocess.run([prefix / "bin/python", "-c", PARSE], input=given_words, capture_output=True, text=True, timeout=900, env=environ)
    assert done.returncode == 0, done.stderr[-2000:]
    refused = json.loads(done.stdout.splitlines()[-1])
    assert [argv for argv, _ in refused][-1:] == [["/data/llama", "--no-such-flag"]], "the parser must be able to refuse"
    assert refused[:-1] == [], f"{len(refused) - 1} of {len(commands)}: {refused[0]}"
    print(f"{len(commands)} commands accepted")
