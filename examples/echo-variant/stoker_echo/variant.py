"""`echo`: serves a folder with an echo.json by saying again what it is told. Everything here is a pure question and its answer."""

from __future__ import annotations

import sys

from pydantic import BaseModel, Field

from model_variants.argv import flags, start_command
from model_variants.base import Launch, LaunchPlan, Site
from model_variants.drafting import Traits, draft, served_name
from model_variants.facts import ModelFacts
from model_variants.first_answers import one_chat_token
from model_variants.options import Options, read_options
from stoker.records import HealthCheck, Resolution
from stoker.specs import ServiceSpec


class EchoOptions(Options):
    """What `options:` may say in YAML. An option that is not here is refused, with the names of those that are."""

    times: int = Field(1, ge=1, le=10, description="how often it says it")
    shout: bool = Field(False, description="in capital letters")


class Echo:
    """Folders with an echo.json. There is nothing to inherit: these attributes and methods are the whole protocol."""

    name = "echo"
    title = "Echo"
    aliases: tuple[str, ...] = ("parrot",)
    engine: str | None = None  # it comes with this package; else the name of what is installed on the nodes
    image: str | None = None  # no container by default
    needs_gpu = False
    options: type[BaseModel] = EchoOptions

    def accepts(self, facts: ModelFacts) -> str | None:
        """None where it can serve the model, else a sentence that ends "does not serve this model: …"."""
        return None if facts.kind == "unknown" and "echo.json" in facts.files else "it needs a folder with an echo.json"

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        """What the spec leaves open. `draft` does what all variants have in common: runtime, names, sizes, health."""
        options = read_options(self.name, EchoOptions, spec.options)
        health = HealthCheck(path="/health", start_timeout=30.0)
        traits = Traits(port=8000, health=health, cpu=100, memory=128 * 2**20, max_concurrency=16, takes_key=True)
        return draft(self, spec, facts, site, traits, options=options)

    def launch(self, launch: Launch) -> LaunchPlan:
        """The command, word by word; no shell reads it. Secrets go by the environment, where `ps` does not show them."""
        options = read_options(self.name, EchoOptions, launch.resolution.options)
        words = flags(host=launch.host, port=launch.port, model_name=served_name(launch), times=options.times, shout=options.shout)
        return LaunchPlan(
            argv=start_command(launch, (sys.executable, "-m", "stoker_echo.engine", *words)),
            env={"ECHO_KEY": launch.session_key} if launch.session_key else {},
            health=launch.resolution.health,
            first_answer=one_chat_token(launch, served_name(launch)),
            stop_grace=5.0,
            clean_exits=(0, -15, 143),
            metrics_path=None,
        )
