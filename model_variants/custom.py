"""`custom`: a model folder that brings its own model-definition.yaml, kept to the letter, in containers and in processes."""

from __future__ import annotations

import sys

import msgspec
from pydantic import BaseModel

from model_variants.argv import start_command
from model_variants.base import Launch, LaunchPlan, Site, Unsuitable
from model_variants.definition.rendering import as_script, render, wants_port, words
from model_variants.definition.schema import Model, health_of, read_definition
from model_variants.drafting import Traits, draft
from model_variants.facts import ModelFacts
from model_variants.options import NoOptions, read_options
from stoker.records import Resolution
from stoker.specs import ServiceSpec


class Custom:
    """What the folder says is started. In a process /models means the folder's real path."""

    name = "custom"
    title = "A model-definition.yaml"
    aliases: tuple[str, ...] = ()
    engine: str | None = None
    image: str | None = None
    needs_gpu = False
    options: type[BaseModel] = NoOptions
    cannot: tuple[str, ...] = (
        "Nothing is known of the engine: there are no metrics, and its own requirements of memory must be said in `resources`.",
    )

    def accepts(self, facts: ModelFacts) -> str | None:
        return None if facts.definition is not None else "the folder has no model-definition.yaml (or .yml)"

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        options = read_options(self.name, NoOptions, spec.options)
        model = read_definition(facts.definition or "")
        assert model.service is not None
        if not words(model.service) and not spec.image and not spec.command:
            raise Unsuitable(
                "definition_failed", "model-definition.yaml has no start_command, and there is no `image:` whose own could be run"
            )
        traits = Traits(port=model.service.port, health=health_of(model.service))
        found = draft(self, spec, facts, site, traits, options=options, definition_name=model.name)
        if found.port is None and not wants_port(model.service):
            found = msgspec.structs.replace(found, port=model.service.port)
        return msgspec.structs.replace(found, options={"definition": model.model_dump(mode="json")})

    def launch(self, launch: Launch) -> LaunchPlan:
        argv = self._argv(launch, Model.model_validate(launch.resolution.options["definition"]))
        return LaunchPlan(
            argv=start_command(launch, argv),
            keep_entrypoint=not argv and not launch.spec.command,
            health=launch.resolution.health,
            cwd=launch.work_dir if launch.resolution.runtime == "process" else None,
            clean_exits=(0, -15, 143),
            metrics_path=None,
        )

    def _argv(self, launch: Launch, model: Model) -> tuple[str, ...]:
        """The command's own args go into the plan, so that whatever runs it appends them where they belong."""
        assert model.service is not None
        if not words(model.service):
            return ()
        if launch.resolution.runtime == "docker":
            plan = render(model, port=launch.port, host=launch.host, folder=None)
            return ("/bin/sh", "-c", as_script(plan) + ' "$@"', "start")
        plan = render(model, port=launch.port, host=launch.host, folder=launch.model_path)
        return (sys.executable, "-m", "model_variants.definition", msgspec.json.encode(plan).decode())
