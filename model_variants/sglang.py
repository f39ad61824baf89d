"""`sglang`: text and embedding models on GPUs, strong where requests share their beginnings.

Its traps (0.5.23): one served name only, and a `:` in it splits off a LoRA adapter; metrics are off unless asked for; at SIGTERM it
drains without a limit, looking every 5 s; while it warms up /health answers 503. Its API key goes by argv only, so none is given.
"""

from __future__ import annotations

import signal

import msgspec
from pydantic import BaseModel, Field

from model_variants.accepting import generates_or_embeds
from model_variants.argv import flags, program, start_command
from model_variants.base import Gauges, Launch, LaunchPlan, Site, Unsuitable
from model_variants.drafting import Traits, draft, served_name
from model_variants.env_options import extra_args, with_environment
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_embedding, one_token
from model_variants.memory import GIB, Demand
from model_variants.options import Options, read_options
from model_variants.vllm import share_of_a_gpu
from stoker.records import HealthCheck, Resolution
from stoker.specs import ServiceSpec

_WORD = r"^[A-Za-z0-9_][\w.,+-]*$"
_PATHS = (
    "/metrics", "/get_server_info", "/server_info", "/flush_cache", "/load_lora_adapter", "/unload_lora_adapter", "/pause_generation",
    "/update_weights_from_disk", "/release_memory_occupation", "/resume_memory_occupation", "/start_profile", "/stop_profile",
    "/abort_request",
)  # fmt: skip


class SglangOptions(Options):
    """Words as `sglang.launch_server` has them."""

    context_length: int | None = Field(None, ge=1, description="in tokens; default: the model's own")
    tensor_parallel_size: int | None = Field(None, ge=1, le=64, description="GPUs that share each layer; default: all of the session's")
    pipeline_parallel_size: int = Field(1, ge=1, le=64, description="stages of layers")
    mem_fraction_static: float | None = Field(None, gt=0, lt=1, description="part of a GPU's memory for weights and cache; computed")
    max_running_requests: int | None = Field(None, ge=1, description="requests answered together")
    max_queued_requests: int | None = Field(None, ge=1, description="requests that wait inside the engine")
    chunked_prefill_size: int | None = Field(None, ge=-1, description="tokens of one step of a long prompt; -1: whole")
    dtype: str | None = Field(None, pattern=_WORD, description="auto, bfloat16, float16, float32")
    quantization: str | None = Field(None, pattern=_WORD, description="awq, gptq, fp8, …; default: the model's own")
    kv_cache_dtype: str | None = Field(None, pattern=_WORD, description="auto, fp8_e5m2, …")
    disable_radix_cache: bool = Field(False, description="do not reuse common beginnings")
    trust_remote_code: bool = Field(False, description="run Python files of the model folder: only for models that you trust")
    chat_template: str | None = Field(None, description="a name or a file")
    tool_call_parser: str | None = Field(None, pattern=_WORD, description="qwen25, llama3, …")
    reasoning_parser: str | None = Field(None, pattern=_WORD, description="deepseek-r1, qwen3, …")
    lora_paths: tuple[str, ...] = Field((), description="adapters as NAME=PATH")


class Sglang:
    """Hugging Face text and embedding models on one or several GPUs of a node."""

    name = "sglang"
    title = "SGLang"
    aliases: tuple[str, ...] = ()
    engine: str | None = "sglang"
    image: str | None = "lmsysorg/sglang:v0.5.23"
    install = "sglang"
    needs_gpu = True
    options: type[BaseModel] = SglangOptions
    gauges = Gauges(running="sglang:num_running_reqs", waiting="sglang:num_queue_reqs", cache="sglang:token_usage")
    cannot: tuple[str, ...] = (
        "It knows one served name: the router puts it into each request.",
        "It is given no key, as its key goes by the command line only.",
        "It does not read GGUF files.",
    )

    def accepts(self, facts: ModelFacts) -> str | None:
        return generates_or_embeds(facts)

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, SglangOptions, with_environment(spec, "SGLANG"))
        extra_args(spec, "SGLANG")
        demand = Demand(
            context=options.context_length,
            overhead=2 * GIB,
            kv_dtype=options.kv_cache_dtype,
            tensor=True,
            pipeline=options.pipeline_parallel_size,
            gpus=options.tensor_parallel_size * options.pipeline_parallel_size if options.tensor_parallel_size else None,
            utilization=options.mem_fraction_static or 0.88,
        )
        health = HealthCheck(path="/health")
        traits = Traits(port=30000, health=health, demand=demand, refused_paths=_PATHS, max_concurrency=options.max_running_requests or 256)
        found = draft(self, spec, facts, site, traits, options=options)
        if ":" in found.model_names[0]:
            raise Unsuitable("model_unsupported", "SGLang reads a : in a model_name as a LoRA adapter: choose another")
        return msgspec.structs.replace(found, upstream_model=found.model_names[0])

    def launch(self, launch: Launch) -> LaunchPlan:
        name = served_name(launch)
        python = program(launch, "python3")
        return LaunchPlan(
            argv=start_command(launch, (python, "-m", "sglang.launch_server", "--model-path", launch.model_path or "", *_words(launch))),
            env={"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"},
            health=launch.resolution.health,
            loading_status=503,
            first_answer=one_embedding(launch, name) if launch.resolution.embedding else one_token(launch, name),
            stop_signals=(signal.SIGTERM,),
            stop_grace=60.0,
            clean_exits=(0, -15, 143),
        )


def _words(launch: Launch) -> tuple[str, ...]:
    options = read_options("sglang", SglangOptions, launch.resolution.options)
    renamed = {"tensor_parallel_size", "pipeline_parallel_size", "lora_paths", "mem_fraction_static"}
    said = options.model_dump(exclude_defaults=True, exclude=renamed)
    said["tp_size"] = options.tensor_parallel_size or max(1, launch.resolution.gpus // options.pipeline_parallel_size)
    said["pp_size"] = options.pipeline_parallel_size if options.pipeline_parallel_size > 1 else None
    said["mem_fraction_static"] = options.mem_fraction_static or share_of_a_gpu(launch, 0.85)
    words = flags(host=launch.host, port=launch.port, served_model_name=served_name(launch), **said, enable_metrics=True)
    if launch.resolution.embedding:
        words += ("--is-embedding",)
    if options.lora_paths:
        words += ("--enable-lora", "--lora-paths", *options.lora_paths)
    return words + extra_args(launch.spec, "SGLANG")
