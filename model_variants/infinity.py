"""`infinity`: embedding models on CPU or GPU, installed with pip. OpenAI's paths need --url-prefix /v1; /health stays outside of it."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, Field

from model_variants.accepting import embeds
from model_variants.argv import flags, program, start_command
from model_variants.base import Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft, served_name
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_embedding
from model_variants.memory import Demand
from model_variants.options import Options, read_options
from stoker.records import Resolution
from stoker.specs import ServiceSpec

_WORD = r"^[a-z0-9_]+$"


class InfinityOptions(Options):
    """Words as `infinity_emb v2` has them."""

    backend: str = Field("torch", pattern=r"^(torch|optimum|ctranslate2)$", description="its --engine")
    device: str | None = Field(None, pattern=_WORD, description="cpu, cuda, mps; default: cuda with a GPU, else cpu")
    dtype: str | None = Field(None, pattern=_WORD, description="auto, float16, bfloat16, int8, …")
    batch_size: int | None = Field(None, ge=1, description="texts of one step")
    bettertransformer: bool = Field(False, description="needs an older transformers")


class Infinity:
    """Embedding models, answered under every name of the service: the router sends the first."""

    name = "infinity"
    title = "Infinity"
    aliases: tuple[str, ...] = ("infinity_emb",)
    engine: str | None = "infinity"
    image: str | None = "michaelf34/infinity:0.0.77"
    install = "'infinity-emb[torch,server]'"
    needs_gpu = False
    options: type[BaseModel] = InfinityOptions
    cannot: tuple[str, ...] = (
        "It makes embeddings only.",
        "Its metrics say nothing about requests that wait.",
    )

    def accepts(self, facts: ModelFacts) -> str | None:
        return embeds(facts)

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, InfinityOptions, spec.options)
        traits = Traits(port=7997, demand=Demand(context=1, on_cpu=True), takes_key=True, refused_paths=("/metrics",))
        found = draft(self, spec, facts, site, traits, options=options)
        return msgspec.structs.replace(found, upstream_model=found.model_names[0])

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, InfinityOptions, launch.resolution.options)
        words = flags(
            model_id=launch.model_path,
            served_model_name=served_name(launch),
            host=launch.host,
            port=launch.port,
            url_prefix="/v1",
            engine=options.backend,
            device=options.device or ("cuda" if launch.gpus else "cpu"),
            dtype=options.dtype,
            batch_size=options.batch_size,
            no_bettertransformer=not options.bettertransformer,
        )
        env = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
        if launch.session_key:
            env["INFINITY_API_KEY"] = launch.session_key
        return LaunchPlan(
            argv=start_command(launch, (program(launch, "infinity_emb"), "v2", *words)),
            env=env,
            health=launch.resolution.health,
            first_answer=one_embedding(launch, served_name(launch)),
            clean_exits=(0, -15, 143),
        )
