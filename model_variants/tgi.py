"""`tgi`: Text Generation Inference, in a container. Its entrypoint splits arguments at spaces: the launcher is called directly."""

from __future__ import annotations

from pydantic import BaseModel, Field

from model_variants.accepting import generates_text
from model_variants.argv import flags, program, start_command
from model_variants.base import Gauges, Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft, served_name
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_chat_token
from model_variants.memory import GIB, Demand
from model_variants.options import Options, read_options
from model_variants.vllm import share_of_a_gpu
from stoker.records import Resolution
from stoker.specs import ServiceSpec

_WORD = r"^[A-Za-z0-9_][\w.,+-]*$"


class TgiOptions(Options):
    """Words as `text-generation-launcher` has them."""

    num_shard: int | None = Field(None, ge=1, le=64, description="GPUs that share each layer; default: all of the session's")
    max_total_tokens: int | None = Field(None, ge=2, description="context in tokens: prompt and answer")
    max_input_tokens: int | None = Field(None, ge=1, description="tokens of the prompt")
    max_batch_prefill_tokens: int | None = Field(None, ge=1, description="tokens of one step of prompts")
    max_concurrent_requests: int | None = Field(None, ge=1, description="more get 429; 128 unless said")
    dtype: str | None = Field(None, pattern=_WORD, description="float16 or bfloat16")
    quantize: str | None = Field(None, pattern=_WORD, description="awq, gptq, fp8, eetq, bitsandbytes, …")
    cuda_memory_fraction: float | None = Field(None, gt=0, le=1, description="part of a GPU's memory to use")
    trust_remote_code: bool = Field(False, description="run Python files of the model folder: only for models that you trust")


class Tgi:
    """Text generators on GPUs."""

    name = "tgi"
    title = "Text Generation Inference"
    aliases: tuple[str, ...] = ("huggingface_tgi",)
    engine: str | None = "tgi"
    image: str | None = "ghcr.io/huggingface/text-generation-inference:3.3.6"
    needs_gpu = True
    options: type[BaseModel] = TgiOptions
    gauges = Gauges(running="tgi_batch_current_size", waiting="tgi_queue_size")
    cannot: tuple[str, ...] = ("It runs on GPUs only, and in containers where nothing is installed.",)

    def accepts(self, facts: ModelFacts) -> str | None:
        return generates_text(facts)

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, TgiOptions, spec.options)
        demand = Demand(context=options.max_total_tokens, overhead=2 * GIB, tensor=True, gpus=options.num_shard)
        concurrency = options.max_concurrent_requests or 128
        traits = Traits(port=3000, demand=demand, takes_key=True, refused_paths=("/metrics",), max_concurrency=concurrency)
        return draft(self, spec, facts, site, traits, options=options)

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, TgiOptions, launch.resolution.options)
        said = options.model_dump(exclude_defaults=True)
        said["num_shard"] = options.num_shard or max(1, launch.resolution.gpus)
        said["cuda_memory_fraction"] = options.cuda_memory_fraction or share_of_a_gpu(launch, 1.0)
        words = flags(model_id=launch.model_path, hostname=launch.host, port=launch.port, **said, usage_stats="off")
        env = {"HF_HUB_OFFLINE": "1"} | ({"API_KEY": launch.session_key} if launch.session_key else {})
        return LaunchPlan(
            argv=start_command(launch, (program(launch, "text-generation-launcher"), *words)),
            env=env,
            health=launch.resolution.health,
            first_answer=one_chat_token(launch, served_name(launch)),
            stop_grace=100.0,
            clean_exits=(0, -15, 143),
        )
