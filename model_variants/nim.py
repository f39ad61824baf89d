"""`nim`: NVIDIA's NIM containers. The image starts itself and downloads its model into the folder, which is its cache (at first empty).

An image of one model needs `image:`; with a Hugging Face folder the model-free NIM serves it. The first start takes long: the
front door answers /v1/health/live at once, /v1/health/ready only with the model loaded.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from model_variants.argv import start_command
from model_variants.base import Launch, LaunchPlan, Site, Unsuitable
from model_variants.drafting import CONTAINER_MODELS, Traits, draft, served_name
from model_variants.facts import ModelFacts
from model_variants.memory import GIB, Demand
from model_variants.options import Options, read_options
from stoker.records import HealthCheck, Resolution
from stoker.specs import ServiceSpec

_FIRST_START = 4 * 3600.0
_KINDS = ("empty", "unknown", "hf")


class NimOptions(Options):
    """Words as NIM 2.x has them in its environment."""

    max_model_len: int | None = Field(None, ge=1, description="context in tokens")
    pipeline_parallel_size: int | None = Field(None, ge=1, description="stages of layers")
    model_profile: str | None = Field(None, pattern=r"^[\w.:-]+$", description="one of the image's profiles")
    passthrough_args: str | None = Field(None, description="words for the engine inside")
    disable_model_download: bool = Field(False, description="the folder is already filled: no NGC_API_KEY is needed")


class Nim:
    """Containers only. `env: {NGC_API_KEY: {secret: …}}` lets it download."""

    name = "nim"
    title = "NVIDIA NIM"
    aliases: tuple[str, ...] = ()
    engine: str | None = "nim"
    image: str | None = "nvcr.io/nim/nvidia/model-free-nim:2.0.8"
    needs_gpu = True
    options: type[BaseModel] = NimOptions
    cannot: tuple[str, ...] = (
        "It runs in containers only.",
        "Its metrics are those of the engine inside, vLLM or SGLang, by the image.",
    )

    def accepts(self, facts: ModelFacts) -> str | None:
        if facts.kind in _KINDS:
            return None
        return "it needs an empty folder as its cache (or the one it filled before), or a Hugging Face folder"

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, NimOptions, spec.options)
        if facts.kind != "hf":
            if not spec.image:
                raise Unsuitable("model_unsupported", "NIM with a cache folder needs the model's `image:`, as nvcr.io/nim/meta/NAME:TAG")
            if "NGC_API_KEY" not in spec.env and not options.disable_model_download:
                raise Unsuitable("secret_missing", "NIM downloads its model with a key: `env: {NGC_API_KEY: {secret: NAME}}`")
        demand = Demand(context=options.max_model_len, overhead=2 * GIB, tensor=True, pipeline=options.pipeline_parallel_size or 1)
        health = HealthCheck(path="/v1/health/ready", start_timeout=_FIRST_START)
        traits = Traits(health=health, demand=demand, refused_paths=("/v1/metrics", "/metrics"))
        found = draft(self, spec, facts, site, traits, options=options)
        if found.runtime != "docker":
            raise Unsuitable(
                "engine_missing", "NIM comes as containers only: leave `runtime:` and `engine:` out, and offer docker on a node"
            )
        return found

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, NimOptions, launch.resolution.options)
        known = {f"NIM_{word.upper()}": value for word, value in options.model_dump(exclude_defaults=True).items()}
        env = {name: "1" if value is True else str(value) for name, value in known.items()}
        env |= {"NIM_SERVER_PORT": str(launch.port), "NIM_SERVED_MODEL_NAME": served_name(launch)}
        if launch.resolution.image == self.image:
            env["NIM_MODEL_PATH"] = CONTAINER_MODELS
        else:
            env |= {"HF_HOME": CONTAINER_MODELS, "NIM_CACHE_PATH": CONTAINER_MODELS}
        return LaunchPlan(
            argv=start_command(launch, ()),
            keep_entrypoint=not launch.spec.command,
            env=env,
            health=launch.resolution.health,
            stop_grace=60.0,
            clean_exits=(0, -15, 143),
            metrics_path="/v1/metrics",
        )
