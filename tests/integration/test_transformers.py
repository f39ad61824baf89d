"""A Hugging Face folder served by a real engine: `stoker serve PATH`, the openai package, and down again."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.support.engine_envs import environment
from tests.support.stack import eventually, running
from tests.support.tiny_models import real_llama

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def test_a_folder_is_served_by_transformers(tmp_path: Path) -> None:
    prefix = environment("transformers")
    real_llama(tmp_path / "Tiny Llama", prefix / "bin" / "python")
    with running(tmp_path / "data", environment={"STOKER_ENGINE_PATH": str(prefix)}) as stack:
        served = stack.stoker("serve", "./Tiny Llama", "--timeout", "240", cwd=tmp_path)
        assert "/services/tiny-llama" in served.stdout
        found = stack.client.service("tiny-llama")
        assert found["variant"] == "transformers" and found["status"] == "HEALTHY"
        with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.user_token, max_retries=0, timeout=120) as client:
            assert [model.id for model in client.models.list().data] == ["tiny-llama"]
            message = [{"role": "user", "content": "Hello"}]
            answer = client.chat.completions.create(model="tiny-llama", messages=message, max_tokens=5)  # type: ignore[arg-type]
            assert answer.choices[0].message.role == "assistant"
            stream = client.chat.completions.create(model="tiny-llama", messages=message, max_tokens=5, stream=True)  # type: ignore[arg-type]
            assert len([chunk for chunk in stream if chunk.choices]) >= 2
        assert "tiny-llama" in stack.stoker("service", "logs", "tiny-llama", "--tail", "5").stdout
        stack.stoker("service", "rm", "tiny-llama")
        eventually(lambda: stack.pids("engine") == [], 60)
