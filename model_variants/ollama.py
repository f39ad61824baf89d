"""`ollama`: GGUF files by Ollama. One server per session that holds the one model, under a name of its own.

Its traps: `ollama serve` takes no model and is up before there is any, so that the model is created from the file once the server
runs (this copies the file into the session's folder, and takes as long), and only /v1/models/NAME says that it is there. At SIGTERM
it closes its port and drains nothing: the router has drained before. It unloads an idle model after five minutes unless told not to.
"""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, Field

from model_variants.argv import program, start_command
from model_variants.base import Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_embedding, one_token
from model_variants.memory import Demand
from model_variants.options import Options, read_options
from stoker.records import HealthCheck, Resolution
from stoker.specs import ServiceSpec

_NAME = "model"
_CONTEXT = 8192
_PATHS = ("/api/create", "/api/pull", "/api/push", "/api/copy", "/api/delete", "/api/blobs", "/api/experimental")

# A link, as the Modelfile ends a path at its first space. Where the creation fails, its output stands last in the log.
_SCRIPT = """\
program=$1; model=$2; shift 2
"$program" serve "$@" & server=$!
trap 'kill -TERM $server; wait $server; exit 143' TERM INT
until "$program" list > /dev/null 2>&1; do kill -0 $server || exit 1; sleep 0.2; done
ln -sf "$model" model.gguf
echo 'FROM ./model.gguf' > Modelfile
"$program" create model -f Modelfile || { kill -TERM $server; exit 1; }
wait $server
"""


class OllamaOptions(Options):
    """Ollama is told by its environment; what is not here goes into `env`, as OLLAMA_…"""

    context_length: int | None = Field(None, ge=1, description=f"tokens per request; default: the model's own, at most {_CONTEXT}")
    parallel: int = Field(1, ge=1, le=256, description="requests answered together")
    flash_attention: bool | None = Field(None, description="default: where Ollama thinks that it works")
    kv_cache_type: str | None = Field(None, pattern=r"^[a-z0-9_]+$", description="f16, q8_0, q4_0; needs flash_attention")
    max_queue: int | None = Field(None, ge=1, description="requests that wait inside, 512 unless said")


class Ollama:
    """GGUF models of one file, on CPU or GPU."""

    name = "ollama"
    title = "Ollama"
    aliases: tuple[str, ...] = ()
    engine: str | None = "ollama"
    image: str | None = "ollama/ollama:latest"
    needs_gpu = False
    options: type[BaseModel] = OllamaOptions
    cannot: tuple[str, ...] = (
        "It does not drain: the router has drained before it is told to stop.",
        "It copies the model into the session's folder: there must be room on that disk for it.",
        "It has no metrics.",
    )

    def accepts(self, facts: ModelFacts) -> str | None:
        if facts.kind != "gguf":
            return "it needs a .gguf file"
        if len(facts.files) > 1:
            return f"it takes one .gguf file, and this model is split into {len(facts.files)}: join them with llama-gguf-split --merge"
        return None

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, OllamaOptions, spec.options)
        context = options.context_length or min(facts.context_length or _CONTEXT, _CONTEXT)
        demand = Demand(context=context, sequences=options.parallel, tensor=True, by_heads=False, on_cpu=True)
        health = HealthCheck(path=f"/v1/models/{_NAME}")
        traits = Traits(port=11434, health=health, demand=demand, refused_paths=_PATHS, max_concurrency=64, upstream_model=_NAME)
        found = draft(self, spec, facts, site, traits, options=options)
        return msgspec.structs.replace(found, options={**found.options, "context_length": context})

    def launch(self, launch: Launch) -> LaunchPlan:
        path, file = launch.model_path or "", launch.resolution.model_file
        if file and not path.endswith(".gguf"):
            path = f"{path}/{file}"
        own = launch.resolution.runtime == "process"
        argv = ("/bin/sh", "-c", _SCRIPT, "start", program(launch, "ollama"), path)
        return LaunchPlan(
            argv=start_command(launch, argv),
            env={**_environment(launch), **({"OLLAMA_MODELS": f"{launch.work_dir}/ollama"} if own else {})},
            cwd=launch.work_dir if own else "/tmp",  # noqa: S108  the container's own
            health=launch.resolution.health,
            loading_status=404,
            first_answer=one_embedding(launch, _NAME) if launch.resolution.embedding else one_token(launch, _NAME),
            stop_grace=15.0,
            clean_exits=(0, -15, 143),
            metrics_path=None,
        )


def _environment(launch: Launch) -> dict[str, str]:
    options = read_options("ollama", OllamaOptions, launch.resolution.options)
    said = {
        "OLLAMA_HOST": f"{launch.host}:{launch.port}",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_CONTEXT_LENGTH": options.context_length,
        "OLLAMA_NUM_PARALLEL": options.parallel,
        "OLLAMA_FLASH_ATTENTION": None if options.flash_attention is None else int(options.flash_attention),
        "OLLAMA_KV_CACHE_TYPE": options.kv_cache_type,
        "OLLAMA_MAX_QUEUE": options.max_queue,
    }
    return {name: str(value) for name, value in said.items() if value is not None}
