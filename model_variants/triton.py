"""`triton`: NVIDIA's Triton Inference Server over a model repository. Its own paths (/v2/…), reached through /services/NAME."""

from __future__ import annotations

from pydantic import BaseModel, Field

from model_variants.argv import program, start_command
from model_variants.base import Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft
from model_variants.facts import ModelFacts
from model_variants.options import Options, read_options
from stoker.records import HealthCheck, Resolution
from stoker.specs import ServiceSpec


class TritonOptions(Options):
    """A few of `tritonserver`'s; what is not here goes into `args`."""

    load_models: tuple[str, ...] = Field((), description="only these models of the repository; default: all")
    strict_readiness: bool = Field(True, description="ready only when every model is")
    log_verbose: int = Field(0, ge=0, le=9, description="how much it logs")


class Triton:
    """Any repository of NAME/config.pbtxt folders. Only HTTP is opened: a session has one port."""

    name = "triton"
    title = "NVIDIA Triton"
    aliases: tuple[str, ...] = ("tritonserver",)
    engine: str | None = "tritonserver"
    image: str | None = "nvcr.io/nvidia/tritonserver:25.10-py3"
    needs_gpu = False
    options: type[BaseModel] = TritonOptions
    cannot: tuple[str, ...] = (
        "Its metrics and gRPC have ports of their own, and a session has one port: they are off.",
        "It is no OpenAI server: its paths are /v2/…, under /services/NAME.",
    )

    def accepts(self, facts: ModelFacts) -> str | None:
        return None if facts.kind == "triton" else "it needs a model repository: folders NAME with a config.pbtxt and a version each"

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, TritonOptions, spec.options)
        refused = ("/v2/repository", "/v2/systemsharedmemory", "/v2/cudasharedmemory", "/v2/trace", "/v2/logging", "/metrics")
        traits = Traits(health=HealthCheck(path="/v2/health/ready"), refused_paths=refused, max_concurrency=256)
        return draft(self, spec, facts, site, traits, options=options)

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, TritonOptions, launch.resolution.options)
        words = [
            f"--model-repository={launch.model_path}",
            f"--http-address={launch.host}",
            f"--http-port={launch.port}",
            "--allow-grpc=false",
            "--allow-metrics=false",
            f"--strict-readiness={'true' if options.strict_readiness else 'false'}",
            "--exit-timeout-secs=30",
        ]
        if options.load_models:
            words += ["--model-control-mode=explicit", *(f"--load-model={name}" for name in options.load_models)]
        if options.log_verbose:
            words.append(f"--log-verbose={options.log_verbose}")
        return LaunchPlan(
            argv=start_command(launch, (program(launch, "tritonserver"), *words)),
            health=launch.resolution.health,
            stop_grace=40.0,
            metrics_path=None,
        )
