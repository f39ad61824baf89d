"""`tensorrt_llm`: NVIDIA's TensorRT-LLM by `trtllm-serve`. Its flags bear underscores; Prometheus is at /prometheus/metrics."""

from __future__ import annotations

from pydantic import BaseModel, Field

from model_variants.accepting import generates_text
from model_variants.argv import program, start_command
from model_variants.base import Gauges, Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft, served_name
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_token
from model_variants.memory import GIB, Demand
from model_variants.options import Options, read_options
from model_variants.vllm import share_of_a_gpu
from stoker.records import Resolution
from stoker.specs import ServiceSpec


class TensorRtLlmOptions(Options):
    """Words as `trtllm-serve` has them."""

    tp_size: int | None = Field(None, ge=1, le=64, description="GPUs that share each layer; default: all of the session's")
    pp_size: int = Field(1, ge=1, le=64, description="stages of layers")
    max_seq_len: int | None = Field(None, ge=1, description="context in tokens; default: the model's own")
    max_batch_size: int | None = Field(None, ge=1, description="requests answered together")
    max_num_tokens: int | None = Field(None, ge=1, description="tokens of one step")
    kv_cache_free_gpu_memory_fraction: float | None = Field(None, gt=0, le=1, description="part of the free memory for the cache; 0.9")
    trust_remote_code: bool = Field(False, description="run Python files of the model folder: only for models that you trust")


class TensorRtLlm:
    """Text generators on NVIDIA's GPUs."""

    name = "tensorrt_llm"
    title = "TensorRT-LLM"
    aliases: tuple[str, ...] = ("trtllm",)
    engine: str | None = "tensorrt_llm"
    image: str | None = "nvcr.io/nvidia/tensorrt-llm/release:1.0.0"
    install = "tensorrt_llm"
    needs_gpu = True
    options: type[BaseModel] = TensorRtLlmOptions
    gauges = Gauges(waiting="trtllm_num_requests_waiting", cache="trtllm_kv_cache_utilization")
    cannot: tuple[str, ...] = ("/metrics is no Prometheus page; /prometheus/metrics is.",)

    def accepts(self, facts: ModelFacts) -> str | None:
        return generates_text(facts)

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, TensorRtLlmOptions, spec.options)
        fixed = options.tp_size * options.pp_size if options.tp_size else None
        demand = Demand(context=options.max_seq_len, overhead=3 * GIB, tensor=True, pipeline=options.pp_size, gpus=fixed)
        traits = Traits(demand=demand, refused_paths=("/metrics", "/prometheus/metrics"), max_concurrency=options.max_batch_size or 256)
        return draft(self, spec, facts, site, traits, options=options)

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, TensorRtLlmOptions, launch.resolution.options)
        said = {"host": launch.host, "port": launch.port, **options.model_dump(exclude_defaults=True, exclude={"trust_remote_code"})}
        said["tp_size"] = options.tp_size or max(1, launch.resolution.gpus // options.pp_size)
        fraction = options.kv_cache_free_gpu_memory_fraction or share_of_a_gpu(launch, 0.9)
        if fraction:
            said["kv_cache_free_gpu_memory_fraction"] = fraction
        words = [word for name, value in said.items() for word in (f"--{name}", str(value))]
        words += ["--trust_remote_code"] if options.trust_remote_code else []
        return LaunchPlan(
            argv=start_command(launch, (program(launch, "trtllm-serve"), launch.model_path or "", *words)),
            env={"HF_HUB_OFFLINE": "1"},
            health=launch.resolution.health,
            first_answer=one_token(launch, served_name(launch)),
            clean_exits=(0, -15, 143),
            metrics_path="/prometheus/metrics",
        )
