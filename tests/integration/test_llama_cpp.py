"""A GGUF file served by llama.cpp (llama-cpp-python): `stoker serve FILE`, the openai package, a stream that a probe does not cut."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.support.engine_envs import environment
from tests.support.stack import eventually, running
from tests.support.tiny_gguf import real_gguf

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def test_a_gguf_is_served_by_llama_cpp(tmp_path: Path) -> None:
    prefix = environment("llama-cpp-python")
    model = real_gguf(tmp_path / "Tiny Model.gguf", prefix / "bin" / "python")
    with running(tmp_path / "data", environment={"STOKER_ENGINE_PATH": str(prefix)}) as stack:
        stack.stoker("serve", str(model), "--name", "tiny", "--timeout", "120")
        found = stack.client.service("tiny")
        assert found["variant"] == "llama_cpp" and found["status"] == "HEALTHY"
        with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.user_token, max_retries=0, timeout=120) as client:
            message = [{"role": "user", "content": "Hello"}]
            answer = client.chat.completions.create(model="tiny", messages=message, max_tokens=5)  # type: ignore[arg-type]
            assert answer.choices[0].message.role == "assistant" and answer.usage and answer.usage.completion_tokens
            stream = client.chat.completions.create(model="tiny", messages=message, max_tokens=200, stream=True)  # type: ignore[arg-type]
            pieces = [chunk for chunk in stream if chunk.choices]
            assert pieces[-1].choices[0].finish_reason in ("length", "stop") and len(pieces) > 2, "no probe cut it"
        stack.stoker("service", "rm", "tiny")
        eventually(lambda: stack.pids("engine") == [], 60)
