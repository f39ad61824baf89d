"""`transformers serve` as the variant starts it, on a CPU, with a tiny random Llama: it becomes healthy, chats and streams."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_variants.reading import read_facts
from model_variants.registry import load_variants
from model_variants.resolve import resolve
from tests.support.engine_envs import environment
from tests.support.engines import free_port, started
from tests.support.launches import launch, site, spec
from tests.support.tiny_models import real_llama

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def test_a_llama_is_served_by_the_command_that_is_launched(tmp_path: Path) -> None:
    prefix = environment("transformers")
    folder = real_llama(tmp_path / "tiny llama", prefix / "bin" / "python")
    facts = read_facts(folder)
    assert (facts.kind, facts.architecture, facts.dtype, facts.layers) == ("hf", "LlamaForCausalLM", "bfloat16", 2)
    assert facts.chat_template and facts.parameters and facts.weight_bytes == 2 * facts.parameters
    variants, given = load_variants(), spec(model=str(folder))
    resolution = resolve(given, facts, site("transformers==5.23.0"), variants)
    assert resolution.variant == "transformers"
    port = free_port()
    plan = variants["transformers"].launch(launch(given, resolution, port=port, engine_prefix=str(prefix)))
    assert plan.health.path and plan.first_answer
    with started(list(plan.argv), port, tmp_path / "log", env=plan.env, health=plan.health.path, seconds=180) as engine:
        print(f"ready after {engine.seconds:.1f} s, {engine.resident() >> 20} MiB")
        first = json.loads(plan.first_answer.body)
        assert engine.ask("POST", plan.first_answer.path, first)[0] == 200
        chat = {"model": resolution.upstream_model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
        status, text = engine.ask("POST", "/v1/chat/completions", chat)
        assert status == 200 and json.loads(text)["choices"][0]["message"]["role"] == "assistant"
        status, text = engine.ask("POST", "/v1/chat/completions", {**chat, "stream": True})
        events = [line for line in text.decode().splitlines() if line.startswith("data: {")]
        assert status == 200 and len(events) >= 2
        assert engine.ask("POST", "/v1/chat/completions", {**chat, "model": "my-service"})[0] == 400, "the router must rewrite the name"
        engine.process.send_signal(plan.stop_signals[0])
        assert engine.process.wait(plan.stop_grace) in plan.clean_exits
