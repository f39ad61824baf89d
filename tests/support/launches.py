"""Specs, sites and launches for tests of variants, in one line each."""

from __future__ import annotations

from typing import Any

from model_variants.base import Launch, Site, Variant
from model_variants.facts import BUILTIN, ModelFacts
from stoker.records import DeviceShare, Engine, Gpu, Resolution
from stoker.specs import ServiceSpec

GIB = 2**30

LLAMA_8B = ModelFacts(
    kind="hf", path="/data/llama", digest="d1", architecture="LlamaForCausalLM", model_type="llama", parameters=8_030_261_248,
    weight_bytes=16_060_522_496, dtype="bfloat16", context_length=8192, layers=32, heads=32, kv_heads=8, head_dim=128, vocabulary=128_256,
    chat_template=True, files=("config.json", "model-00001-of-00004.safetensors"),
)  # fmt: skip
GGUF = ModelFacts(
    kind="gguf", path="/data/x.gguf", digest="d2", architecture="llama", model_type="llama", weight_bytes=4 * GIB, context_length=8192,
    layers=32, heads=32, kv_heads=8, head_dim=128, files=("x.gguf",), quantization="ggml-12", chat_template=True,
)  # fmt: skip
SENTENCES = ModelFacts(
    kind="sentence_transformers", path="/data/minilm", digest="d3", architecture="BertModel", model_type="bert", weight_bytes=90 * 2**20,
    context_length=512, layers=6, heads=12, kv_heads=12, head_dim=32, embedding=True, files=("modules.json",),
)  # fmt: skip
TRITON = ModelFacts(kind="triton", path="/data/repository", digest="d4", weight_bytes=GIB, files=("resnet",))
EMPTY = ModelFacts(kind="empty", path="/data/cache", digest="d5")
TEXT = ModelFacts(kind="text", path="/data/text", digest="d6", files=("a.txt",))
LORA = ModelFacts(kind="lora", path="/data/lora", digest="d7", files=("adapter_config.json",))
UNKNOWN = ModelFacts(kind="unknown", path="/data/what", digest="d8", files=("what.exe",))
ECHO = ModelFacts(kind="unknown", path="/data/parrot", digest="d10", files=("echo.json",))
DEFINITION = ModelFacts(
    kind="definition", path="/data/koalpaca", digest="d9", files=("model-definition.yaml",),
    definition="""\
models:
  - name: KoAlpaca-5.8B-model
    model_path: /models/KoAlpaca-5.8B
    service:
      pre_start_actions:
        - {action: run_command, args: {command: [pip3, install, -r, /models/requirements.txt]}}
      start_command: [uvicorn, --app-dir, /models, chatbot-api:app, --port, "8000", --host, 0.0.0.0]
      port: 8000
      health_check: {path: /health, max_retries: 10}
""",
)  # fmt: skip
ALL_FACTS = (BUILTIN, TEXT, LLAMA_8B, GGUF, SENTENCES, TRITON, EMPTY, LORA, UNKNOWN, ECHO, DEFINITION)


def spec(**fields: Any) -> ServiceSpec:
    return ServiceSpec.from_json({"name": "my-service", "model": "/data/model", **fields})


def site(*engines: str, docker: bool = False, gpus: int = 0, memory: int = 80 * GIB, model: str = "H100") -> Site:
    """Engines as NAME==VERSION, all in /engines/NAME."""
    split = [engine.partition("==") for engine in engines]
    installed = tuple(Engine(name=name, version=version, prefix=f"/engines/{name}") for name, _, version in split)
    devices = tuple(Gpu(id=f"gpu{n}", model=model, vendor="nvidia", memory=memory) for n in range(gpus))
    return Site(runtimes=frozenset({"process", "docker"} if docker else {"process"}), engines=installed, gpus=devices)


def launch(given: ServiceSpec, resolution: Resolution, **more: Any) -> Launch:
    """As a node would: its port, its devices, the engine's prefix, a key."""
    path = resolution.model_path
    if path and resolution.runtime == "docker":
        path = "/models" if not path.endswith(".gguf") else "/models/" + path.rpartition("/")[2]
    known = {
        "spec": given,
        "resolution": resolution,
        "session": "my-service-abcde",
        "host": "127.0.0.1" if resolution.runtime == "process" else "0.0.0.0",
        "port": resolution.port or 23456,
        "model_path": path,
        "work_dir": "/work",
        "engine_prefix": "/engines/" + resolution.engine.partition("==")[0] if resolution.engine else None,
        "gpus": tuple(DeviceShare(f"gpu{n}", resolution.gpu_share, resolution.gpu_memory) for n in range(resolution.gpus)),
        "session_key": "sk-session-secret",
    }
    return Launch(**{**known, **more})


def words(variant: Variant, given: ServiceSpec, resolution: Resolution, **more: Any) -> list[str]:
    """The start command as a list of words."""
    return list(variant.launch(launch(given, resolution, **more)).argv)
