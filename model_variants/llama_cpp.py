"""`llama_cpp`: GGUF files on CPU or GPU, by llama-server, or by llama-cpp-python where only that is installed.

Their traps: llama-server does not drain (SIGTERM stops generating and the client hangs for 30 s; the router has drained before), its
metrics are off unless asked for, and it answers 503 while it loads. llama-cpp-python has no /health, and with its default
interrupt_requests a GET of /v1/models cuts the running stream: /openapi.json is what may be asked. It refuses requests whose
x-request-id is no UUID, unless it is told not to look.
"""

from __future__ import annotations

import signal

import msgspec
from pydantic import BaseModel, Field

from model_variants.argv import flags, program, start_command
from model_variants.base import Gauges, Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft, served_name
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_embedding, one_token
from model_variants.memory import Demand
from model_variants.options import Options, read_options
from stoker.records import HealthCheck, Resolution
from stoker.specs import ServiceSpec

_WORD = r"^[A-Za-z0-9_][\w.,+-]*$"
_CONTEXT = 8192
_PYTHON = "llama_cpp_python"

# Its server answers 400 to every request whose x-request-id is no UUID; ours, and those of clients, need not be one.
_START = """\
import contextlib, functools, runpy
with contextlib.suppress(ImportError):
    from starlette_context import plugins
    plugins.RequestIdPlugin = functools.partial(plugins.RequestIdPlugin, validate=False)
runpy.run_module("llama_cpp.server", run_name="__main__")
"""


class LlamaCppOptions(Options):
    """The common part of llama-server and llama-cpp-python; what is not here goes into `args`."""

    context_length: int | None = Field(None, ge=1, description=f"tokens per request; default: the model's own, at most {_CONTEXT}")
    parallel: int = Field(1, ge=1, le=256, description="requests answered together (llama-server)")
    gpu_layers: int | None = Field(None, ge=-1, description="layers on the GPU; default: all, or 0 without a GPU")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: the cores of the session")
    batch_size: int | None = Field(None, ge=1, description="tokens of one step of the prompt")
    cache_type_k: str | None = Field(None, pattern=_WORD, description="f16, q8_0, … (llama-server)")
    cache_type_v: str | None = Field(None, pattern=_WORD, description="f16, q8_0, … (llama-server)")
    mmproj: str | None = Field(None, description="a vision projector file (llama-server)")
    chat_format: str | None = Field(None, pattern=_WORD, description="default: the template in the file (llama-cpp-python)")


class LlamaCpp:
    """GGUF models: one file, or the parts of a split one."""

    name = "llama_cpp"
    title = "llama.cpp"
    aliases: tuple[str, ...] = ()
    engine: str | None = "llama_cpp"
    other_engines: tuple[str, ...] = (_PYTHON,)
    image: str | None = "ghcr.io/ggml-org/llama.cpp:server"
    install = "'llama-cpp-python[server]'"
    needs_gpu = False
    options: type[BaseModel] = LlamaCppOptions
    gauges = Gauges(running="llamacpp:requests_processing", waiting="llamacpp:requests_deferred")
    cannot: tuple[str, ...] = (
        "It does not drain: the router has drained before it is told to stop.",
        "An unknown model name is answered, not refused.",
    )

    def accepts(self, facts: ModelFacts) -> str | None:
        return None if facts.kind == "gguf" else "it needs a .gguf file"

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, LlamaCppOptions, spec.options)
        context = options.context_length or min(facts.context_length or _CONTEXT, _CONTEXT)
        demand = Demand(context=context, sequences=options.parallel, tensor=True, by_heads=False, on_cpu=True)
        traits = Traits(port=8080, demand=demand, takes_key=True, refused_paths=("/metrics", "/slots", "/props"), max_concurrency=64)
        found = draft(self, spec, facts, site, traits, options=options)
        chosen = {**found.options, "context_length": context}
        if found.image == self.image and found.gpus:
            found = msgspec.structs.replace(found, image=f"{self.image}-cuda")
        if _is_python(found):
            health = HealthCheck(path="/openapi.json") if found.health.path == HealthCheck().path else found.health
            found = msgspec.structs.replace(found, health=health)
        return msgspec.structs.replace(found, options=chosen)

    def launch(self, launch: Launch) -> LaunchPlan:
        path = launch.model_path or ""
        if launch.resolution.model_file and not path.endswith(".gguf"):
            path = f"{path}/{launch.resolution.model_file}"
        return _with_python(launch, path) if _is_python(launch.resolution) else _with_server(launch, path)


def _with_server(launch: Launch, path: str) -> LaunchPlan:
    options = read_options("llama_cpp", LlamaCppOptions, launch.resolution.options)
    words = flags(
        model=path,
        alias=served_name(launch),
        host=launch.host,
        port=launch.port,
        ctx_size=(options.context_length or 0) * options.parallel,
        parallel=options.parallel,
        n_gpu_layers=options.gpu_layers if options.gpu_layers is not None else None if launch.gpus else 0,
        threads=options.threads or max(1, launch.resolution.cpu // 1000),
        batch_size=options.batch_size,
        cache_type_k=options.cache_type_k,
        cache_type_v=options.cache_type_v,
        mmproj=options.mmproj,
        embeddings=launch.resolution.embedding,
        metrics=True,
    )
    name = served_name(launch)
    return LaunchPlan(
        argv=start_command(launch, (program(launch, "llama-server") if launch.engine_prefix else "/app/llama-server", *words)),
        env={"LLAMA_API_KEY": launch.session_key} if launch.session_key else {},
        health=launch.resolution.health,
        loading_status=503,
        first_answer=one_embedding(launch, name) if launch.resolution.embedding else one_token(launch, name),
        stop_signals=(signal.SIGTERM, signal.SIGTERM),
        stop_grace=10.0,
        clean_exits=(0, 1, -15, 143),
    )


def _with_python(launch: Launch, path: str) -> LaunchPlan:
    options = read_options("llama_cpp", LlamaCppOptions, launch.resolution.options)
    gpu_layers = options.gpu_layers if options.gpu_layers is not None else -1 if launch.gpus else 0
    known = {
        "model": path,
        "model_alias": served_name(launch),
        "host": launch.host,
        "port": launch.port,
        "n_ctx": options.context_length,
        "n_gpu_layers": gpu_layers,
        "n_threads": options.threads or max(1, launch.resolution.cpu // 1000),
        "n_batch": options.batch_size,
        "chat_format": options.chat_format,
        "embedding": "true" if launch.resolution.embedding else None,
        "interrupt_requests": "false",
    }
    words = [word for name, value in known.items() if value is not None for word in (f"--{name}", str(value))]
    name = served_name(launch)
    return LaunchPlan(
        argv=start_command(launch, (program(launch, "python"), "-c", _START, *words)),
        env={"API_KEY": launch.session_key} if launch.session_key else {},
        health=launch.resolution.health,
        first_answer=one_embedding(launch, name) if launch.resolution.embedding else one_token(launch, name),
        clean_exits=(0, -15, 143),
        metrics_path=None,
    )


def _is_python(resolution: Resolution) -> bool:
    return (resolution.engine or "").replace("-", "_").startswith(_PYTHON)
