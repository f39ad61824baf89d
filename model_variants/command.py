"""`command`: the spec's own command, or the image's. Nothing is known about the engine, so nothing is assumed."""

from __future__ import annotations

from pydantic import BaseModel

from model_variants.argv import start_command
from model_variants.base import Launch, LaunchPlan, Site, Unsuitable
from model_variants.drafting import NO_HEALTH_CHECK, Traits, draft
from model_variants.facts import ModelFacts
from model_variants.options import NoOptions, read_options
from stoker.records import Resolution
from stoker.specs import ServiceSpec


class Command:
    """READY as soon as the port accepts, unless the spec gives a health check. Any model folder will do."""

    name = "command"
    title = "A command of your own"
    aliases: tuple[str, ...] = ("cmd",)
    engine: str | None = None
    image: str | None = None
    needs_gpu = False
    options: type[BaseModel] = NoOptions
    cannot: tuple[str, ...] = ("Nothing is known of the engine: no health check, no metrics, no key, no rewriting of `model`.",)

    def accepts(self, facts: ModelFacts) -> str | None:
        return None

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        if not spec.command and not spec.image:
            raise Unsuitable("model_unsupported", "variant command needs a `command:`, or an `image:` whose own command is run")
        traits = Traits(health=NO_HEALTH_CHECK)
        return draft(self, spec, facts, site, traits, options=read_options(self.name, NoOptions, spec.options))

    def launch(self, launch: Launch) -> LaunchPlan:
        """Without a command of the spec's own it is the image's, with the spec's args for it."""
        return LaunchPlan(
            argv=start_command(launch, ()),
            keep_entrypoint=not launch.spec.command,
            health=launch.resolution.health,
            clean_exits=(0, -15, 143),
            metrics_path=None,
        )
