"""Every SGLang command that the variant makes goes through that version's own argument parser, all in one process."""

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
import argparse, json, sys
from sglang.srt.server_args import ServerArgs
parser, refused = argparse.ArgumentParser(prog="sglang.launch_server"), []
ServerArgs.add_cli_args(parser)
for argv in json.load(sys.stdin):
    try:
        found = parser.parse_args(argv)
        assert found.model_path in ("/data/llama", "/data/minilm") and found.port == 23456, "the model or the port was lost"
        assert found.enable_metrics and found.served_model_name, "metrics or the name were lost"
    except (SystemExit, Exception) as error:
        refused.append([argv, repr(error)])
print(json.dumps(refused))
"""
COMBINATIONS = 250
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "context_length": st.integers(1, 1_000_000),
        "tensor_parallel_size": st.sampled_from([1, 2, 4, 8]),
        "pipeline_parallel_size": st.sampled_from([1, 2]),
        "mem_fraction_static": st.sampled_from([0.5, 0.85, 0.99]),
        "max_running_requests": st.integers(1, 4096),
        "max_queued_requests": st.integers(1, 4096),
        "chunked_prefill_size": st.sampled_from([-1, 512, 8192]),
        "dtype": st.sampled_from(["auto", "bfloat16", "float16", "float32"]),
        "quantization": st.sampled_from(["awq", "gptq", "fp8", "compressed-tensors"]),
        "kv_cache_dtype": st.sampled_from(["auto", "fp8_e5m2", "fp8_e4m3"]),
        "disable_radix_cache": st.booleans(),
        "trust_remote_code": st.booleans(),
        "chat_template": st.sampled_from(["llama-2", "/t/x.jinja"]),
        "tool_call_parser": st.sampled_from(["qwen25", "llama3"]),
        "reasoning_parser": st.sampled_from(["deepseek-r1", "qwen3"]),
        "lora_paths": st.lists(st.sampled_from(["a=/lora/a", "b=/lora/b c"]), max_size=2, unique=True),
    },
)


def test_sglang_accepts_every_command(tmp_path: Path) -> None:
    prefix = environment("sglang-parser")
    variants, commands = load_variants([]), list[list[str]]()
    place = site("sglang==0.5.23", gpus=16)

    @settings(max_examples=2 * COMBINATIONS, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(OPTIONS, st.sampled_from([LLAMA_8B, SENTENCES]), st.lists(st.sampled_from(["a", "b c", "org/name"]), unique=True, max_size=3))
    def collect(options: dict[str, Any], facts: Any, names: list[str]) -> None:
        fields = spec(variant="sglang", options=options, model_name=names)
        try:
            resolution = resolve(fields, facts, place, variants)
        except Unsuitable:
            return
        argv = words(variants["sglang"], fields, resolution)
        if argv not in commands:
            commands.append(argv)

    collect()
    assert len(commands) >= 200, f"only {len(commands)} different commands were made"
    assert all(argv[1:3] == ["-m", "sglang.launch_server"] for argv in commands)
    wrong = ["--model-path", "/data/llama", "--port", "23456", "--no-such-flag"]
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    said = json.dumps([*(argv[3:] for argv in commands), wrong])
    done = subprocess.run([prefix / "bin/python", "-c", PARSE], input=said, capture_output=True, text=True, timeout=900, env=environ)
    assert done.returncode == 0, done.stderr[-2000:]
    refused = json.loads(done.stdout.splitlines()[-1])
    assert [argv for argv, _ in refused][-1:] == [wrong], "the parser must be able to refuse"
    assert refused[:-1] == [], f"{len(refused) - 1} of {len(commands)}: {refused[0]}; {done.stderr[-500:]}"
    print(f"{len(commands)} commands accepted")
