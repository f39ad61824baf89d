"""`lmdeploy`: text models on GPUs. Its /health answers 503 until it is ready, and 200 while it sleeps: it is never put to sleep."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, Field

from model_variants.accepting import generates_text
from model_variants.argv import flags, program, start_command
from model_variants.base import Gauges, Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft, served_name
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_token
from model_variants.memory import GIB, Demand
from model_variants.options import Options, read_options
from model_variants.vllm import share_of_a_gpu
from stoker.records import Resolution
from stoker.specs import ServiceSpec

_WORD = r"^[A-Za-z0-9_][\w.,+-]*$"


class LmdeployOptions(Options):
    """Words as `lmdeploy serve api_server` has them."""

    tp: int | None = Field(None, ge=1, le=64, description="GPUs that share each layer; default: all of the session's")
    session_len: int | None = Field(None, ge=1, description="context in tokens; default: the model's own")
    max_batch_size: int | None = Field(None, ge=1, description="requests answered together")
    cache_max_entry_count: float | None = Field(None, gt=0, lt=1, description="part of the free memory for the cache; 0.8")
    backend: str | None = Field(None, pattern=r"^(turbomind|pytorch)$", description="chosen by LMDeploy")
    model_format: str | None = Field(None, pattern=_WORD, description="hf, awq, gptq, fp8")
    quant_policy: int | None = Field(None, ge=0, le=16, description="bits of the cache: 0, 4 or 8")
    tool_call_parser: str | None = Field(None, pattern=_WORD, description="qwen, llama3, …")
    reasoning_parser: str | None = Field(None, pattern=_WORD, description="deepseek-r1, …")


class Lmdeploy:
    """Text generators on GPUs, under one name."""

    name = "lmdeploy"
    title = "LMDeploy"
    aliases: tuple[str, ...] = ()
    engine: str | None = "lmdeploy"
    image: str | None = "openmmlab/lmdeploy:v0.16.0"
    install = "lmdeploy"
    needs_gpu = True
    options: type[BaseModel] = LmdeployOptions
    gauges = Gauges(running="lmdeploy:num_requests_running", waiting="lmdeploy:num_requests_waiting", cache="lmdeploy:gpu_cache_usage_perc")
    cannot: tuple[str, ...] = ("It is never put to sleep: a sleeping LMDeploy says that it is healthy.",)

    def accepts(self, facts: ModelFacts) -> str | None:
        return generates_text(facts)

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, LmdeployOptions, spec.options)
        demand = Demand(context=options.session_len, overhead=2 * GIB, tensor=True, gpus=options.tp)
        refused = ("/metrics", "/sleep", "/wakeup", "/is_sleeping", "/update_weights", "/terminate", "/abort_request")
        traits = Traits(port=23333, demand=demand, refused_paths=refused, max_concurrency=options.max_batch_size or 128)
        found = draft(self, spec, facts, site, traits, options=options)
        return msgspec.structs.replace(found, upstream_model=found.model_names[0])

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, LmdeployOptions, launch.resolution.options)
        said = options.model_dump(exclude_defaults=True)
        said["tp"] = options.tp or max(1, launch.resolution.gpus)
        said["cache_max_entry_count"] = options.cache_max_entry_count or share_of_a_gpu(launch, 0.8)
        words = flags(server_name=launch.host, server_port=launch.port, model_name=served_name(launch), **said)
        return LaunchPlan(
            argv=start_command(launch, (program(launch, "lmdeploy"), "serve", "api_server", launch.model_path or "", *words)),
            env={"HF_HUB_OFFLINE": "1"},
            health=launch.resolution.health,
            loading_status=503,
            first_answer=one_token(launch, served_name(launch)),
            clean_exits=(0, -15, 143),
        )
