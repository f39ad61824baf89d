"""`transformers`: Hugging Face's own server. Slower than vLLM, and it runs whatever transformers can load, on a CPU too.

Its traps (transformers 5.23, seen running): the request's model must be the very path given at the start; a path with an @ fails to
load; /v1/models knows nothing of a local folder; streams end without `data: [DONE]`; at SIGTERM it finishes what runs, without limit.
"""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, Field

from model_variants.argv import flags, program, start_command
from model_variants.base import FirstAnswer, Launch, LaunchPlan, Site, Unsuitable
from model_variants.drafting import Traits, draft, seen_path
from model_variants.facts import ModelFacts
from model_variants.memory import Demand
from model_variants.options import Options, read_options
from stoker.records import Resolution
from stoker.specs import ServiceSpec


class TransformersOptions(Options):
    """Words as `transformers serve` has them."""

    device: str | None = Field(None, pattern=r"^[a-z]+(:\d+)?$", description="cpu, cuda, auto; default: auto with GPUs, else cpu")
    dtype: str | None = Field(None, pattern=r"^(auto|bfloat16|float16|float32)$", description="default: the model's own")
    continuous_batching: bool = Field(False, description="answer requests together instead of one after the other")
    attn_implementation: str | None = Field(None, pattern=r"^\w[\w|/.-]*$", description="such as sdpa or flash_attention_2")
    trust_remote_code: bool = Field(False, description="run Python files of the model folder: only for models that you trust")


class Transformers:
    """Text models of Hugging Face, on CPU or one GPU."""

    name = "transformers"
    title = "Hugging Face transformers serve"
    aliases: tuple[str, ...] = ()
    engine: str | None = "transformers"
    image: str | None = None
    install = "'transformers[serving]' torch"
    needs_gpu = False
    options: type[BaseModel] = TransformersOptions
    cannot: tuple[str, ...] = (
        "It has no metrics.",
        "It uses one GPU.",
        "/v1/models knows nothing of a local folder.",
        "Its streams end without `data: [DONE]`.",
    )

    def accepts(self, facts: ModelFacts) -> str | None:
        if facts.kind != "hf":
            return "it needs a Hugging Face folder (config.json and weights)"
        if facts.embedding or not (facts.architecture or "").endswith(("ForCausalLM", "ForConditionalGeneration")):
            return f"it serves text generation; this model is {facts.architecture or 'of no named architecture'}"
        return None

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, TransformersOptions, spec.options)
        demand = Demand(context=min(facts.context_length or 4096, 4096), overhead=3 * 2**29, on_cpu=True)
        traits = Traits(demand=demand, max_concurrency=64, refused_paths=("/load_model",))
        found = draft(self, spec, facts, site, traits, options=options)
        path = seen_path(facts, found.runtime)
        if path and "@" in path:
            raise Unsuitable("model_unsupported", f"transformers serve cannot load a path with an @ in it: rename or link {path}")
        return msgspec.structs.replace(found, upstream_model=path)

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, TransformersOptions, launch.resolution.options).model_dump(exclude_defaults=True)
        options.setdefault("device", "auto" if launch.gpus else "cpu")
        path = launch.model_path or ""
        argv = (program(launch, "transformers"), "serve", path, *flags(host=launch.host, port=launch.port, **options))
        body: dict[str, object] = {"model": path, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        return LaunchPlan(
            argv=start_command(launch, argv),
            env={"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
            health=launch.resolution.health,
            first_answer=FirstAnswer("/v1/chat/completions", msgspec.json.encode(body)) if not launch.spec.command else None,
            clean_exits=(0, -15, 143),
            stop_grace=60.0,
            metrics_path=None,
        )
