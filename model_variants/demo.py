"""`demo`: the built-in engine, a small statistical language model. It needs no weights, no GPU and no installation."""

from __future__ import annotations

import sys
from typing import Annotated

from pydantic import BaseModel, Field

from model_variants.argv import flags, start_command
from model_variants.base import Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft
from model_variants.facts import ModelFacts
from model_variants.options import Duration, Options, Size, read_options
from stoker.records import HealthCheck, Resolution
from stoker.specs import ServiceSpec

_KINDS = ("builtin", "text")
_CPU = 100
_MEMORY = 256 * 2**20


class DemoOptions(Options):
    """Delays are seconds and off by default; the failures are for rehearsals."""

    text: str | None = Field(None, description="a folder of plain text to learn from; default: the model folder, or Stoker's documentation")
    context_length: int = Field(4096, ge=16, le=1_000_000, description="tokens of prompt and answer together")
    start_delay: Duration = Field(0.0, description="before the port opens")
    load_delay: Duration = Field(0.0, description="the port is open, /health answers 503")
    ttft: Duration = Field(0.0, description="before the first token of an answer")
    tpot: Duration = Field(0.0, description="before each further token")
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="part of ttft and tpot that varies at random")
    max_concurrency: int = Field(0, ge=0, le=100_000, description="requests answered at once; more wait in a queue. 0: no limit")
    queue_limit: int = Field(1000, ge=0, le=1_000_000, description="requests that wait; more get 503")
    fail_start: int | None = Field(None, ge=0, le=255, description="exit with this code instead of starting")
    fail_rate: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="part of the requests that get 500")
    crash_after_requests: int | None = Field(None, ge=1, description="exit with code 1 in the middle of this request")
    hang: bool = Field(False, description="accept requests and never answer them; /health goes on")
    abort_stream_after: int | None = Field(None, ge=0, description="cut each stream's connection after so many tokens")
    oom: Size | None = Field(None, description="allocate so much memory after the start")


class Demo:
    """Learns from plain text when it starts, and speaks OpenAI's chat, completions and embeddings."""

    name = "demo"
    title = "Stoker's demo engine (a small statistical language model)"
    aliases: tuple[str, ...] = ()
    engine: str | None = None
    image: str | None = None
    needs_gpu = False
    options: type[BaseModel] = DemoOptions

    def accepts(self, facts: ModelFacts) -> str | None:
        if facts.kind in _KINDS:
            return None
        return "it learns from a folder of plain text (.txt, .md, .rst), or from Stoker's own with `model: demo`"

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, DemoOptions, spec.options)
        traits = Traits(
            port=None,
            health=HealthCheck(start_timeout=120.0),
            max_concurrency=options.max_concurrency or 256,
            takes_key=True,
            refused_paths=("/metrics",),
            cpu=_CPU,
            memory=_MEMORY,
        )
        return draft(self, spec, facts, site, traits, options=options)

    def launch(self, launch: Launch) -> LaunchPlan:
        options = read_options(self.name, DemoOptions, launch.resolution.options).model_dump(exclude_defaults=True)
        options.setdefault("text", launch.model_path)
        names = launch.resolution.model_names
        argv = (sys.executable, "-m", "model_variants.demo_engine", *flags(host=launch.host, port=launch.port, model_name=names, **options))
        return LaunchPlan(
            argv=start_command(launch, argv),
            env={"DEMO_API_KEY": launch.session_key} if launch.session_key else {},
            health=launch.resolution.health,
            loading_status=503,
            clean_exits=(0, -15, 143),
        )
