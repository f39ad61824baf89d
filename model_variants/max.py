"""`max`: Modular's MAX, `max serve`. It insists on the model's path as its name unless told another; metrics have a port of their own."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, Field

from model_variants.accepting import generates_or_embeds
from model_variants.argv import flags, program, start_command
from model_variants.base import Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft, seen_path
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_chat_token, one_embedding
from model_variants.memory import GIB, Demand
from model_variants.options import Options, read_options
from stoker.records import HealthCheck, Resolution
from stoker.specs import ServiceSpec


class MaxOptions(Options):
    """Words as `max serve` has them."""

    max_length: int | None = Field(None, ge=1, description="context in tokens; default: the model's own")
    max_batch_size: int | None = Field(None, ge=1, description="requests answered together")
    quantization_encoding: str | None = Field(None, pattern=r"^[a-z0-9_]+$", description="bfloat16, float32, q4_k, …")
    trust_remote_code: bool = Field(False, description="run Python files of the model folder: only for models that you trust")


class Max:
    """Hugging Face models on GPUs, and on the CPU where the model allows it."""

    name = "max"
    title = "Modular MAX"
    aliases: tuple[str, ...] = ("modular_max",)
    engine: str | None = "max"
    image: str | None = "modular/max-nvidia-full:latest"
    install = "modular"
    needs_gpu = True
    options: type[BaseModel] = MaxOptions
    cannot: tuple[str, ...] = ("Its metrics have a port of their own, and a session has one port: they are not read.",)

    def accepts(self, facts: ModelFacts) -> str | None:
        return generates_or_embeds(facts)

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, MaxOptions, spec.options)
        demand = Demand(context=options.max_length, overhead=3 * GIB, tensor=True)
        health = HealthCheck(path="/v1/health")
        traits = Traits(demand=demand, health=health, refused_paths=("/metrics",), max_concurrency=options.max_batch_size or 256)
        found = draft(self, spec, facts, site, traits, options=options)
        return msgspec.structs.replace(found, upstream_model=seen_path(facts, found.runtime))

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, MaxOptions, launch.resolution.options).model_dump(exclude_defaults=True)
        path = launch.model_path or ""
        devices = "gpu:" + ",".join(str(number) for number in range(max(1, launch.resolution.gpus)))
        words = flags(model=path, host=launch.host, port=launch.port, devices=devices, **options)
        return LaunchPlan(
            argv=start_command(launch, (program(launch, "max"), "serve", *words)),
            env={"HF_HUB_OFFLINE": "1", "MODULAR_TELEMETRY_ENABLED": "0"},
            health=launch.resolution.health,
            first_answer=one_embedding(launch, path) if launch.resolution.embedding else one_chat_token(launch, path),
            clean_exits=(0, -15, 143),
            metrics_path=None,
        )
