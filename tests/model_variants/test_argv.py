"""The commands that real engines get, word by word, with the traps that each of them is known for."""

from __future__ import annotations

from typing import Any

import pytest

from model_variants.base import LaunchPlan, Unsuitable
from model_variants.registry import load_variants
from model_variants.resolve import resolve
from stoker.records import DeviceShare, Resolution
from tests.support.launches import DEFINITION, EMPTY, GGUF, GIB, LLAMA_8B, SENTENCES, TRITON, launch, site, spec

VARIANTS = load_variants([])


def plan_of(facts: Any, place: Any, *, given: dict[str, Any] | None = None, **more: Any) -> tuple[Resolution, LaunchPlan]:
    fields = spec(**(given or {}))
    found = resolve(fields, facts, place, VARIANTS)
    return found, VARIANTS[found.variant].launch(launch(fields, found, **more))


def said(plan: LaunchPlan, flag: str) -> str | None:
    """The word behind `flag`."""
    return plan.argv[plan.argv.index(flag) + 1] if flag in plan.argv else None


def test_vllm_on_two_gpus() -> None:
    options = {
        "max_model_len": 8192,
        "tensor_parallel_size": 2,
        "tool_call_parser": "hermes",
        "enable_prefix_caching": False,
        "dtype": "bfloat16",
    }
    found, plan = plan_of(LLAMA_8B, site("vllm==0.33.0", gpus=8), given={"options": options, "model_name": ["a", "b"]})
    assert (found.variant, found.gpus, found.gpu_share, found.takes_key) == ("vllm", 2, 100, True)
    assert plan.argv == (
        "/engines/vllm/bin/vllm", "serve", "/data/llama", "--host", "127.0.0.1", "--port", "23456",
        "--served-model-name", "a", "b", "my-service", "--max-model-len", "8192", "--tensor-parallel-size", "2", "--dtype", "bfloat16",
        "--tool-call-parser", "hermes", "--no-enable-prefix-caching", "--enable-auto-tool-choice", "--shutdown-timeout", "60",
    )  # fmt: skip
    assert plan.env["VLLM_API_KEY"] == "sk-session-secret" and plan.env["HF_HUB_OFFLINE"] == "1"
    assert len(plan.stop_signals) == 2 and plan.first_answer and plan.first_answer.path == "/v1/completions"


def test_vllm_in_its_container() -> None:
    found, plan = plan_of(LLAMA_8B, site(docker=True, gpus=1))
    assert (found.variant, found.runtime, found.image, found.port) == ("vllm", "docker", "vllm/vllm-openai:v0.33.0", 8000)
    assert plan.argv[:3] == ("vllm", "serve", "/models") and said(plan, "--port") == "8000" and not plan.keep_entrypoint
    _, older = plan_of(LLAMA_8B, site(docker=True, gpus=1), given={"image": "vllm/vllm-openai:v0.9.2"})
    assert "--shutdown-timeout" not in older.argv, "an older vLLM refuses what it does not know"
    assert plan_of(LLAMA_8B, site("vllm==0.9.2", gpus=1))[1].argv[-1] == "1"


def test_a_share_of_a_gpu_is_not_overdrawn() -> None:
    found, plan = plan_of(
        LLAMA_8B, site("vllm==0.33.0", gpus=1), given={"resources": {"gpu": 0.25}}, gpus=(DeviceShare("gpu0", 25, 20 * GIB),)
    )
    assert (found.gpus, found.gpu_share) == (1, 25)
    assert said(plan, "--gpu-memory-utilization") == "0.23"
    _, sglang = plan_of(
        LLAMA_8B,
        site("sglang==0.5.23", gpus=1),
        given={"resources": {"gpu": 0.25}, "variant": "sglang"},
        gpus=(DeviceShare("gpu0", 25, 20 * GIB),),
    )
    assert said(sglang, "--mem-fraction-static") == "0.212"


def test_options_by_environment_and_options_win() -> None:
    env = {"VLLM_TP_SIZE": 4, "VLLM_QUANTIZATION": "awq", "VLLM_EXTRA_ARGS": "--seed 7 --chat-template 'a b'"}
    found, plan = plan_of(LLAMA_8B, site("vllm==0.33.0", gpus=8), given={"env": env, "options": {"quantization": "fp8"}, "variant": "vllm"})
    assert found.gpus == 4 and said(plan, "--tensor-parallel-size") == "4" and said(plan, "--quantization") == "fp8"
    assert plan.argv[-4:] == ("--seed", "7", "--chat-template", "a b")
    with pytest.raises(Unsuitable, match="VLLM_EXTRA_ARGS"):
        plan_of(LLAMA_8B, site("vllm==0.33.0", gpus=8), given={"env": {"VLLM_EXTRA_ARGS": "'open"}, "variant": "vllm"})


def test_a_wrong_split_is_refused_with_what_would_do() -> None:
    place = site("vllm==0.33.0", gpus=8)
    with pytest.raises(Unsuitable, match=r"32 attention heads .* 3 GPUs; 1, 2, 4, 8, 16 would do"):
        plan_of(LLAMA_8B, place, given={"resources": {"gpu": 3}})
    with pytest.raises(Unsuitable, match="the options ask for 2 GPUs and `resources` for 4"):
        plan_of(LLAMA_8B, place, given={"resources": {"gpu": 4}, "options": {"tensor_parallel_size": 2}, "variant": "vllm"})
    found, plan = plan_of(LLAMA_8B, place, given={"resources": {"gpu": 4}, "options": {"pipeline_parallel_size": 2}, "variant": "vllm"})
    assert found.gpus == 4 and said(plan, "--tensor-parallel-size") == "2" and said(plan, "--pipeline-parallel-size") == "2"


def test_sglang() -> None:
    found, plan = plan_of(LLAMA_8B, site("sglang==0.5.23", gpus=1), given={"model_name": ["a", "b"]})
    assert (found.variant, found.upstream_model, found.takes_key) == ("sglang", "a", False)
    assert plan.argv == (
        "/engines/sglang/bin/python3", "-m", "sglang.launch_server", "--model-path", "/data/llama", "--host", "127.0.0.1", "--port",
        "23456", "--served-model-name", "a", "--tp-size", "1", "--enable-metrics",
    )  # fmt: skip
    assert plan.loading_status == 503
    with pytest.raises(Unsuitable, match="LoRA"):
        plan_of(LLAMA_8B, site("sglang==0.5.23", gpus=1), given={"model_name": ["a:b"]})


def test_llama_server_on_a_cpu() -> None:
    found, plan = plan_of(GGUF, site("llama_cpp==0"), given={"options": {"parallel": 2}, "resources": {"cpu": 4}})
    assert (found.variant, found.gpus, found.takes_key) == ("llama_cpp", 0, True)
    assert plan.argv == (
        "/engines/llama_cpp/bin/llama-server", "--model", "/data/x.gguf", "--alias", "my-service", "--host", "127.0.0.1", "--port", "23456",
        "--ctx-size", "16384", "--parallel", "2", "--n-gpu-layers", "0", "--threads", "4", "--metrics",
    )  # fmt: skip
    assert plan.env == {"LLAMA_API_KEY": "sk-session-secret"} and plan.loading_status == 503


def test_llama_cpp_python_is_asked_what_does_not_hurt_it() -> None:
    found, plan = plan_of(GGUF, site("llama_cpp_python==0.3.36"))
    assert found.health.path == "/openapi.json" and plan.metrics_path is None
    assert plan.argv[:2] == ("/engines/llama_cpp_python/bin/python", "-c") and '"llama_cpp.server"' in plan.argv[2]
    assert "validate=False" in plan.argv[2], "a request id that is no UUID would be answered 400"
    assert said(plan, "--interrupt_requests") == "false" and said(plan, "--n_ctx") == "8192"
    both, _ = plan_of(GGUF, site("llama_cpp_python==0.3.36", "llama_cpp==0"))
    assert both.engine == "llama_cpp==0", "the server proper is preferred, whatever the numbers"
    asked, _ = plan_of(GGUF, site("llama_cpp_python==0.3.36", "llama_cpp==0"), given={"engine": "llama_cpp_python"})
    assert asked.engine == "llama_cpp_python==0.3.36"


def test_a_gguf_in_a_folder_and_in_a_container() -> None:
    import msgspec

    folder = msgspec.structs.replace(GGUF, path="/data/folder", files=("x-00001-of-00002.gguf", "x-00002-of-00002.gguf"))
    found, plan = plan_of(folder, site(docker=True, gpus=1))
    assert found.image == "ghcr.io/ggml-org/llama.cpp:server-cuda" and plan.argv[0] == "/app/llama-server"
    assert said(plan, "--model") == "/models/x-00001-of-00002.gguf" and "--n-gpu-layers" not in plan.argv
    assert plan_of(folder, site(docker=True))[0].image == "ghcr.io/ggml-org/llama.cpp:server"
    assert said(plan_of(GGUF, site(docker=True))[1], "--model") == "/models/x.gguf"


def test_embedding_engines() -> None:
    found, plan = plan_of(SENTENCES, site("infinity==0.0.78"))
    assert (found.variant, found.upstream_model) == ("infinity", "my-service")
    assert plan.argv == (
        "/engines/infinity/bin/infinity_emb", "v2", "--model-id", "/data/minilm", "--served-model-name", "my-service", "--host",
        "127.0.0.1", "--port", "23456", "--url-prefix", "/v1", "--engine", "torch", "--device", "cpu", "--no-bettertransformer",
    )  # fmt: skip
    assert plan.first_answer and plan.first_answer.path == "/v1/embeddings" and plan.health.path == "/health"
    found, plan = plan_of(SENTENCES, site(docker=True), given={"variant": "tei"})
    assert found.image == "ghcr.io/huggingface/text-embeddings-inference:cpu-1.9"
    assert plan.argv == ("text-embeddings-router", "--model-id", "/models", "--hostname", "0.0.0.0", "--port", "80")
    assert (
        plan_of(SENTENCES, site(docker=True, gpus=1), given={"variant": "tei"})[0].image
        == "ghcr.io/huggingface/text-embeddings-inference:1.9"
    )
    assert "--is-embedding" in plan_of(SENTENCES, site("sglang==0.5.23", gpus=1), given={"variant": "sglang"})[1].argv


def test_the_container_engines() -> None:
    place = site(docker=True, gpus=4)
    _, tgi = plan_of(LLAMA_8B, place, given={"variant": "huggingface-tgi", "resources": {"gpu": 2}, "args": ["--x", "a b"]})
    assert tgi.argv[:3] == ("text-generation-launcher", "--model-id", "/models") and said(tgi, "--num-shard") == "2"
    assert tgi.argv[-1] == "a b" and not tgi.keep_entrypoint, "its entrypoint would split the word"
    _, trt = plan_of(LLAMA_8B, place, given={"variant": "tensorrt-llm", "resources": {"gpu": 2}})
    assert trt.argv == ("trtllm-serve", "/models", "--host", "0.0.0.0", "--port", "8000", "--tp_size", "2")
    assert trt.metrics_path == "/prometheus/metrics"
    _, lmdeploy = plan_of(LLAMA_8B, place, given={"variant": "lmdeploy"})
    assert lmdeploy.argv[:4] == ("lmdeploy", "serve", "api_server", "/models") and said(lmdeploy, "--server-port") == "23333"
    found, modular = plan_of(LLAMA_8B, place, given={"variant": "modular-max", "resources": {"gpu": 2}})
    assert found.upstream_model == "/models" and said(modular, "--devices") == "gpu:0,1"
    found, triton = plan_of(TRITON, place)
    assert triton.argv[:2] == ("tritonserver", "--model-repository=/models") and found.health.path == "/v2/health/ready"


def test_nim() -> None:
    place = site(docker=True, gpus=1)
    given = {"image": "nvcr.io/nim/meta/llama-3.1-8b-instruct:2.0.8", "env": {"NGC_API_KEY": {"secret": "ngc"}}, "variant": "nim"}
    found, plan = plan_of(EMPTY, place, given=given)
    assert plan.argv == () and plan.keep_entrypoint and found.health.path == "/v1/health/ready"
    assert plan.env == {
        "NIM_SERVER_PORT": "8000", "NIM_SERVED_MODEL_NAME": "my-service", "HF_HOME": "/models", "NIM_CACHE_PATH": "/models",
    }  # fmt: skip
    with pytest.raises(Unsuitable, match="NGC_API_KEY") as refused:
        plan_of(EMPTY, place, given={**given, "env": {}})
    assert refused.value.reason.code == "secret_missing"
    with pytest.raises(Unsuitable, match="`image:`"):
        plan_of(EMPTY, place)
    _, free = plan_of(LLAMA_8B, place, given={"variant": "nim"})
    assert free.env["NIM_MODEL_PATH"] == "/models"


def test_auto_prefers_what_is_there_and_says_what_else_would_do() -> None:
    def why(facts: Any, *arguments: Any, **more: Any) -> str:
        return resolve(spec(), facts, site(*arguments, **more), VARIANTS).why

    assert why(LLAMA_8B, "vllm==1", "sglang==1", gpus=1).startswith("a Hugging Face model (LlamaForCausalLM): vllm; would do too: sglang, ")
    assert ": sglang; would do too: vllm (not installed)" in why(LLAMA_8B, "sglang==1", gpus=1)
    assert ": transformers; would do too: vllm (needs a GPU)" in why(LLAMA_8B, "vllm==1", "transformers==1")
    assert ": infinity; would do too: tei (not installed)" in why(SENTENCES, "infinity==1")
    assert resolve(spec(engine="sglang"), LLAMA_8B, site("vllm==1", "sglang==1", gpus=1), VARIANTS).variant == "sglang"
    with pytest.raises(Unsuitable, match="no node has the engine vllm") as refused:
        resolve(spec(), LLAMA_8B, site(gpus=1), VARIANTS)
    assert refused.value.reason.code == "engine_missing"


def test_what_is_too_large_says_what_would_fit() -> None:
    with pytest.raises(Unsuitable, match=r"weights 15\.0GiB.*the largest has 19GiB; a context of 4096 tokens") as refused:
        resolve(spec(), LLAMA_8B, site("transformers==1", "vllm==1", gpus=1, memory=19 * GIB), VARIANTS)
    assert refused.value.reason.code == "no_fit"
    found = resolve(spec(), LLAMA_8B, site("vllm==1", gpus=4, memory=16 * GIB), VARIANTS)
    assert found.gpus == 2 and found.gpu_memory <= 16 * GIB and [term for term, _ in found.memory_terms][:2] == ["weights", "KV cache"]


def test_a_definition_to_the_letter() -> None:
    found, plan = plan_of(DEFINITION, site())
    assert (found.variant, found.runtime, found.port) == ("custom", "process", 8000)
    assert found.model_names == ("KoAlpaca-5.8B-model", "my-service")
    assert (found.health.enable, found.health.path, found.health.max_retries, found.health.replace_after) == (True, "/health", 10, None)
    assert plan.argv[1:3] == ("-m", "model_variants.definition") and '"/data/koalpaca/requirements.txt"' in plan.argv[3]
    assert '"/data/koalpaca/KoAlpaca-5.8B"' in plan.argv[3] and "/models" not in plan.argv[3]
    found, plan = plan_of(DEFINITION, site(docker=True), given={"image": "python:3.11", "variant": "custom"})
    assert plan.argv[:2] == ("/bin/sh", "-c") and "pip3 install -r /models/requirements.txt\n" in plan.argv[2]
    assert plan.argv[2].endswith('exec uvicorn --app-dir /models chatbot-api:app --port 8000 --host 0.0.0.0 "$@"')
