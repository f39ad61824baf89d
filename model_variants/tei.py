"""`tei`: Hugging Face's Text Embeddings Inference, in a container."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, Field

from model_variants.accepting import embeds
from model_variants.argv import flags, program, start_command
from model_variants.base import Gauges, Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft, served_name
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_embedding
from model_variants.memory import Demand
from model_variants.options import Options, read_options
from stoker.records import Resolution
from stoker.specs import ServiceSpec

_GPU_IMAGE = "ghcr.io/huggingface/text-embeddings-inference:1.9"


class TeiOptions(Options):
    """Words as `text-embeddings-router` has them."""

    dtype: str | None = Field(None, pattern=r"^(float16|float32)$", description="default: float16 on GPUs, float32 on CPUs")
    pooling: str | None = Field(None, pattern=r"^(cls|mean|splade|last-token)$", description="default: the model's own")
    max_concurrent_requests: int | None = Field(None, ge=1, description="512 unless said")
    max_batch_tokens: int | None = Field(None, ge=1, description="tokens of one step")
    max_client_batch_size: int | None = Field(None, ge=1, description="texts of one request")
    auto_truncate: bool = Field(False, description="cut texts that are too long instead of refusing them")


class Tei:
    """Embedding models on CPU or one GPU."""

    name = "tei"
    title = "Text Embeddings Inference"
    aliases: tuple[str, ...] = ("text_embeddings_inference",)
    engine: str | None = "tei"
    image: str | None = "ghcr.io/huggingface/text-embeddings-inference:cpu-1.9"
    needs_gpu = False
    options: type[BaseModel] = TeiOptions
    gauges = Gauges(waiting="te_queue_size")
    cannot: tuple[str, ...] = ("It makes embeddings only.",)

    def accepts(self, facts: ModelFacts) -> str | None:
        return embeds(facts)

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, TeiOptions, spec.options)
        concurrency = options.max_concurrent_requests or 512
        traits = Traits(
            port=80, demand=Demand(context=1, on_cpu=True), takes_key=True, max_concurrency=concurrency, refused_paths=("/metrics",)
        )
        found = draft(self, spec, facts, site, traits, options=options)
        return msgspec.structs.replace(found, image=_GPU_IMAGE) if found.image == self.image and found.gpus else found

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, TeiOptions, launch.resolution.options).model_dump(exclude_defaults=True)
        words = flags(model_id=launch.model_path, hostname=launch.host, port=launch.port, **options)
        return LaunchPlan(
            argv=start_command(launch, (program(launch, "text-embeddings-router"), *words)),
            env={"API_KEY": launch.session_key} if launch.session_key else {},
            health=launch.resolution.health,
            first_answer=one_embedding(launch, served_name(launch)),
            clean_exits=(0, -15, 143),
        )
