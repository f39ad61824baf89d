"""A variant's Resolution from the parts that all variants share: runtime, names, size, health, port."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from pydantic import BaseModel

from model_variants.base import Launch, Site, Unsuitable, Variant
from model_variants.facts import ModelFacts
from model_variants.memory import Demand
from model_variants.runtime_choice import choose_runtime
from model_variants.sizing import size
from stoker.records import HealthCheck, Resolution
from stoker.specs import HealthCheckSpec, SecretRef, ServiceSpec

NO_HEALTH_CHECK = HealthCheck(enable=False, path=None)
CONTAINER_MODELS = "/models"


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between variants: `port` in a container, the health check, how the router meets the engine, and defaults
    of cpu (millicores) and memory (bytes) other than the usual ones.
    """

    port: int | None = 8000
    health: HealthCheck = HealthCheck()
    demand: Demand | None = None
    max_concurrency: int = 256
    takes_key: bool = False
    upstream_model: str | None = None
    refused_paths: tuple[str, ...] = ()
    cpu: int | None = None
    memory: int | None = None


def draft(
    variant: Variant,
    spec: ServiceSpec,
    facts: ModelFacts,
    site: Site,
    traits: Traits,
    *,
    options: BaseModel,
    definition_name: str | None = None,
) -> Resolution:
    """Raises Unsuitable where the site or the sizes do not do. `why` is for a variant that was asked for by name."""
    runtime = choose_runtime(variant, spec, site)
    sizes: dict[str, Any] = msgspec.structs.asdict(size(spec, facts, site, traits.demand))
    if traits.cpu is not None and spec.resources.cpu is None:
        sizes["cpu"] = traits.cpu
    if traits.memory is not None and spec.resources.memory is None:
        sizes["memory"] = traits.memory
    return Resolution(
        variant=variant.name,
        why=f"variant {variant.name} was asked for",
        runtime=runtime.name,
        engine=runtime.engine,
        image=runtime.image,
        model_path=facts.path,
        model_file=facts.files[0] if facts.kind == "gguf" and not (facts.path or "").endswith(".gguf") else None,
        embedding=facts.embedding,
        model_names=model_names(spec, definition_name),
        options=options.model_dump(mode="json", exclude_unset=True),
        port=spec.port if spec.port is not None else traits.port if runtime.name == "docker" else None,
        max_concurrency=spec.routing.max_concurrency or traits.max_concurrency,
        health=merge_health(traits.health, spec.health_check),
        takes_key=traits.takes_key and spec.command is None,
        upstream_model=traits.upstream_model,
        refused_paths=traits.refused_paths,
        facts_digest=facts.digest,
        **sizes,
    )


def seen_path(facts: ModelFacts, runtime: str) -> str | None:
    """The model's path as the engine sees it: its real one in a process, under /models in a container."""
    if facts.path is None or runtime == "process":
        return facts.path
    return CONTAINER_MODELS if not facts.path.endswith(".gguf") else f"{CONTAINER_MODELS}/{facts.path.rpartition('/')[2]}"


def model_names(spec: ServiceSpec, definition_name: str | None = None) -> tuple[str, ...]:
    """What clients may send as `model`: the spec's names, else env BACKEND_MODEL_NAME, else the definition's; always the service's too."""
    given = spec.env.get("BACKEND_MODEL_NAME")
    if spec.model_name:
        names = spec.model_name
    elif given and not isinstance(given, SecretRef):
        names = (given,)
    else:
        names = (definition_name,) if definition_name else ()
    if any(name.startswith("-") for name in names):
        raise Unsuitable("model_unsupported", "a model_name cannot begin with -: engines would read it as an option")
    return tuple(dict.fromkeys((*names, spec.name)))


def merge_health(default: HealthCheck, given: HealthCheckSpec) -> HealthCheck:
    """The spec's fields over the variant's. A path alone turns checking on; `replace_after: null`
    (infinity in the spec) means never.
    """
    said = {name: value for name in HealthCheck.__struct_fields__ if (value := getattr(given, name)) is not None}
    if given.replace_after == math.inf:
        said["replace_after"] = None
    if "path" in said and "enable" not in said:
        said["enable"] = True
    if said.get("enable") and default.path is None and "path" not in said:
        said["path"] = HealthCheck().path
    return msgspec.structs.replace(default, **said)


def served_name(launch: Launch) -> str:
    """The first of the names: what an engine that knows only one is told."""
    return launch.resolution.model_names[0]
