"""`vllm`: the usual engine for text models on GPUs.

Its traps (0.32 and 0.33): exit code 0 is also what a crash gives; /health answers before the model can; a SIGTERM while loading
may be lost, so that a second one and then SIGKILL follow; streams are aborted at SIGTERM unless --shutdown-timeout is given.
"""

from __future__ import annotations

import re
import signal
from typing import Literal

from pydantic import BaseModel, Field

from model_variants.accepting import generates_or_embeds
from model_variants.argv import flags, program, start_command
from model_variants.base import Gauges, Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft, served_name
from model_variants.env_options import extra_args, with_environment
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_embedding, one_token
from model_variants.memory import GIB, Demand
from model_variants.options import Options, read_options
from model_variants.runtime_choice import version_key
from stoker.records import Resolution
from stoker.specs import ServiceSpec

_WORD = r"^[A-Za-z0-9_][\w.,+-]*$"
_DRAIN = 60
_PATHS = (
    "/metrics", "/load", "/server_info", "/sleep", "/wake_up", "/is_sleeping", "/collective_rpc", "/reset_prefix_cache", "/pause",
    "/resume",
    "/release_kv_cache_memory", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/init_weight_transfer_engine", "/update_weights",
)  # fmt: skip


class VllmOptions(Options):
    """Words and defaults as `vllm serve` has them; what is not here goes into `args`."""

    max_model_len: int | Literal["auto"] | None = Field(None, description="context in tokens; auto: what fits; default: the model's own")
    tensor_parallel_size: int | None = Field(None, ge=1, le=64, description="GPUs that share each layer; default: all of the session's")
    pipeline_parallel_size: int = Field(1, ge=1, le=64, description="stages of layers")
    gpu_memory_utilization: float | None = Field(None, gt=0, le=1, description="part of a GPU's memory to use; 0.92 of the session's share")
    max_num_seqs: int | None = Field(None, ge=1, description="requests answered together")
    max_num_batched_tokens: int | None = Field(None, ge=1, description="tokens of one step")
    dtype: str | None = Field(None, pattern=_WORD, description="auto, bfloat16, float16, float32")
    quantization: str | None = Field(None, pattern=_WORD, description="awq, gptq, fp8, …; default: the model's own")
    kv_cache_dtype: str | None = Field(None, pattern=_WORD, description="auto, fp8, …")
    enable_prefix_caching: bool | None = Field(None, description="reuse the cache of common beginnings; on by default in vLLM")
    enforce_eager: bool = Field(False, description="no CUDA graphs: less memory, slower")
    trust_remote_code: bool = Field(False, description="run Python files of the model folder: only for models that you trust")
    chat_template: str | None = Field(None, description="a file, or the template itself")
    tool_call_parser: str | None = Field(None, pattern=_WORD, description="turns tool calls on with this parser (hermes, llama3_json, …)")
    reasoning_parser: str | None = Field(None, pattern=_WORD, description="deepseek_r1, qwen3, …")
    lora_modules: tuple[str, ...] = Field((), description="adapters as NAME=PATH")
    load_format: str | None = Field(None, pattern=_WORD, description="auto, safetensors, dummy, …")
    seed: int | None = Field(None, ge=0, description="of the engine's random numbers")


class Vllm:
    """Hugging Face text and embedding models on one or several GPUs of a node."""

    name = "vllm"
    title = "vLLM"
    aliases: tuple[str, ...] = ()
    engine: str | None = "vllm"
    image: str | None = "vllm/vllm-openai:v0.33.0"
    install = "vllm"
    needs_gpu = True
    options: type[BaseModel] = VllmOptions
    gauges = Gauges(running="vllm:num_requests_running", waiting="vllm:num_requests_waiting", cache="vllm:kv_cache_usage_perc")
    cannot: tuple[str, ...] = (
        "It does not read GGUF files by itself (its extra vllm-gguf-plugin does).",
        "Its sleep mode is not used: it opens paths that need no key.",
    )

    def accepts(self, facts: ModelFacts) -> str | None:
        return generates_or_embeds(facts)

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, VllmOptions, with_environment(spec, "VLLM"))
        extra_args(spec, "VLLM")
        demand = Demand(
            context=_context(options, facts),
            overhead=2 * GIB,
            kv_dtype=options.kv_cache_dtype,
            tensor=True,
            pipeline=options.pipeline_parallel_size,
            gpus=options.tensor_parallel_size * options.pipeline_parallel_size if options.tensor_parallel_size else None,
            utilization=options.gpu_memory_utilization or 0.92,
        )
        traits = Traits(demand=demand, takes_key=True, refused_paths=_PATHS, max_concurrency=options.max_num_seqs or 256)
        return draft(self, spec, facts, site, traits, options=options)

    def launch(self, launch: Launch) -> LaunchPlan:
        name = served_name(launch)
        env = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1"}
        if launch.session_key:
            env["VLLM_API_KEY"] = launch.session_key
        return LaunchPlan(
            argv=start_command(launch, (program(launch, "vllm"), "serve", launch.model_path or "", *_words(launch))),
            env=env,
            health=launch.resolution.health,
            first_answer=one_embedding(launch, name) if launch.resolution.embedding else one_token(launch, name),
            stop_signals=(signal.SIGTERM, signal.SIGTERM),
            stop_grace=_DRAIN + 10.0,
        )


def _words(launch: Launch) -> tuple[str, ...]:
    options = read_options("vllm", VllmOptions, launch.resolution.options)
    said = options.model_dump(exclude_defaults=True, exclude={"lora_modules", "enable_prefix_caching", "gpu_memory_utilization"})
    said["tensor_parallel_size"] = options.tensor_parallel_size or max(1, launch.resolution.gpus // options.pipeline_parallel_size)
    said["gpu_memory_utilization"] = options.gpu_memory_utilization or share_of_a_gpu(launch, 0.92)
    words = flags(host=launch.host, port=launch.port, served_model_name=launch.resolution.model_names, **said)
    if options.enable_prefix_caching is not None:
        words += ("--enable-prefix-caching",) if options.enable_prefix_caching else ("--no-enable-prefix-caching",)
    if options.tool_call_parser:
        words += ("--enable-auto-tool-choice",)
    if options.lora_modules:
        words += ("--enable-lora", "--lora-modules", *options.lora_modules)
    if _knows_shutdown_timeout(launch.resolution):
        words += ("--shutdown-timeout", str(_DRAIN))
    return words + extra_args(launch.spec, "VLLM")


def share_of_a_gpu(launch: Launch, whole: float) -> float | None:
    """The part of a device that an engine may take when its session holds only a share of it; None: its own default."""
    shares = [device.share for device in launch.gpus]
    return round(whole * min(shares) / 100, 3) if shares and min(shares) < 100 else None


def _context(options: VllmOptions, facts: ModelFacts) -> int | None:
    """`auto` needs room for a few thousand tokens only; vLLM then takes what there is."""
    if options.max_model_len == "auto":
        return min(facts.context_length or 4096, 4096)
    return options.max_model_len


def _knows_shutdown_timeout(resolution: Resolution) -> bool:
    """Older versions refuse the option and do not start."""
    version = (resolution.engine or "").partition("==")[2]
    tag = re.fullmatch(r".*:v(\d[\w.]*)", resolution.image or "")
    return version_key(version or (tag[1] if tag else "0")) >= version_key("0.32.0")
