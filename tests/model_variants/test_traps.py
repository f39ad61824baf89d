"""What would break a naive plug-in: ten things that real engines do, seen running or in their source. Each has its test here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_variants.base import LaunchPlan, Unsuitable
from model_variants.reading import read_facts
from model_variants.registry import load_variants
from model_variants.resolve import resolve
from stoker.records import Resolution
from tests.support.launches import GGUF, LLAMA_8B, SENTENCES, launch, site, spec
from tests.support.tiny_models import LLAMA_CONFIG, hf_folder
from worker.endings import reason_of
from worker.runtimes.base import Ending

VARIANTS = load_variants([])
ROOT = Path(__file__).resolve().parents[2]


def plan_of(facts: Any, engine: str, **given: Any) -> tuple[Resolution, LaunchPlan]:
    """As it is started where only this engine is installed."""
    fields = spec(**given)
    found = resolve(fields, facts, site(f"{engine}==1000", gpus=1), VARIANTS)
    return found, VARIANTS[found.variant].launch(launch(fields, found))


def test_1_vllm_exits_with_0_when_it_crashes() -> None:
    """An exit that nobody asked for is a failure, whatever its code and whatever the plan calls clean."""
    _, plan = plan_of(LLAMA_8B, "vllm")
    assert plan.clean_exits == (0,)
    for ready in (False, True):
        reason = reason_of(Ending(code=0), was_ready=ready, memory=0, last_lines="EngineCore died")
        assert reason.code == "start_exit" and "exited with code 0" in reason.message


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llama_cpp", "llama_cpp_python", "transformers", "infinity", "ollama"])
def test_2_a_healthy_engine_may_not_be_able_to_answer(engine: str) -> None:
    """One request of one token must be answered before a session is READY; the probe's side is in tests/worker/test_probes.py."""
    facts = SENTENCES if engine == "infinity" else GGUF if "llama_cpp" in engine or engine == "ollama" else LLAMA_8B
    found, plan = plan_of(facts, engine)
    assert plan.first_answer is not None
    body = json.loads(plan.first_answer.body)
    assert body["model"] == (found.upstream_model or found.model_names[0])
    assert body.get("max_tokens") == 1 or plan.first_answer.path == "/v1/embeddings"
    embedding, plan = plan_of(SENTENCES, "vllm")
    assert embedding.embedding and plan.first_answer and plan.first_answer.path == "/v1/embeddings", "an embedding model completes nothing"


def test_3_vllm_may_lose_a_sigterm_while_it_loads() -> None:
    """A second one follows, then SIGKILL to the process group; that a deaf engine is killed is in tests/worker/test_session_life.py."""
    _, plan = plan_of(LLAMA_8B, "vllm")
    assert plan.stop_signals == (signal.SIGTERM, signal.SIGTERM) and plan.stop_grace < 600


def test_4_vllm_aborts_streams_at_sigterm() -> None:
    """Unless it is given time; it is given more than it takes itself. Versions that do not know the option are not told."""
    _, plan = plan_of(LLAMA_8B, "vllm")
    given = float(plan.argv[plan.argv.index("--shutdown-timeout") + 1])
    assert 0 < given < plan.stop_grace
    fields = spec()
    old = resolve(fields, LLAMA_8B, site("vllm==0.10.1", gpus=1), VARIANTS)
    assert "--shutdown-timeout" not in VARIANTS["vllm"].launch(launch(fields, old)).argv


def test_5_asking_llama_cpp_python_for_its_models_cuts_streams() -> None:
    """So it is asked for /openapi.json, told not to interrupt, and never scraped. It refuses request ids that are no UUIDs, too."""
    found, plan = plan_of(GGUF, "llama_cpp_python")
    assert plan.health.path == found.health.path == "/openapi.json" and plan.metrics_path is None
    assert plan.argv[plan.argv.index("--interrupt_requests") + 1] == "false"
    assert "validate=False" in plan.argv[2]


def test_6_llama_server_does_not_drain() -> None:
    """The router has drained before; it is not waited for 30 seconds, and 1 is how it exits after a second SIGTERM."""
    _, plan = plan_of(GGUF, "llama_cpp")
    assert plan.stop_signals == (signal.SIGTERM, signal.SIGTERM) and plan.stop_grace <= 10 and {0, 1} <= set(plan.clean_exits)
    assert plan.loading_status == 503 and "--metrics" in plan.argv


def test_7_transformers_knows_its_model_by_path_only() -> None:
    found, plan = plan_of(LLAMA_8B, "transformers", variant="transformers")
    assert found.upstream_model == LLAMA_8B.path, "the router puts the path into each request"
    assert plan.health.path == "/health" and plan.metrics_path is None, "/v1/models and /metrics are of no use"
    with pytest.raises(Unsuitable, match="with an @ in it: rename or link"):
        plan_of(msgspec.structs.replace(LLAMA_8B, path="/data/llama@v2"), "transformers", variant="transformers")


def test_8_weights_may_be_private() -> None:
    """transformers 5 writes model.safetensors with mode 600: who may not read it is told which file, and what to type."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are private
        Path(place).chmod(0o755)
        folder = hf_folder(Path(place) / "model")
        (folder / "model.safetensors").chmod(0o600)
        # Imported before the user changes, as this source tree may be private itself.
        read = "import os, sys; from pathlib import Path; from model_variants.reading import read_facts"
        words = [sys.executable, "-c", f"{read}; os.setuid(65534); read_facts(Path(sys.argv[1]))", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=ROOT)
    said = f"{folder / 'model.safetensors'} may not be read by the worker's user: chmod -R a+rX {folder}"
    assert done.returncode == 1 and said in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("old", "new"), [({"torch_dtype": "float16", "rope_theta": 1e4}, {"dtype": "float16", "rope_parameters": {"rope_theta": 1e4}})]
)
def test_9_config_json_has_two_spellings(tmp_path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    config = {key: value for key, value in LLAMA_CONFIG.items() if key != "dtype"}
    first, second = (hf_folder(tmp_path / name, {**config, **more}) for name, more in (("four", old), ("five", new)))
    (first / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    (second / "chat_template.jinja").write_text("{{ messages }}")
    one, other = read_facts(first), read_facts(second)
    assert one.dtype == other.dtype == "float16" and one.chat_template and other.chat_template
    assert (one.context_length, one.kv_heads, one.head_dim) == (other.context_length, other.kv_heads, other.head_dim) == (2048, 2, 16)


def test_10_vllm_does_not_read_gguf() -> None:
    assert VARIANTS["vllm"].accepts(GGUF) is not None and VARIANTS["sglang"].accepts(GGUF) is not None
    with pytest.raises(Unsuitable, match=r"does not serve this model: it needs a Hugging Face folder"):
        plan_of(GGUF, "vllm", variant="vllm")
    found, _ = plan_of(GGUF, "llama_cpp")
    assert found.variant == "llama_cpp", "auto does not try"
