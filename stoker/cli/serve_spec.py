"""From the flags of `serve` to a service's specification, checked before anything is started."""

from __future__ import annotations

import json
from dataclasses import dataclass

from stoker.cli.model_word import resolve_model, service_name
from stoker.cli.pairs import parse_env, parse_mounts, parse_options
from stoker.cli.replicas import parse_replicas
from stoker.errors import InvalidRequest

Words = list[str] | None


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What was typed; None and empty lists were not given."""

    model: str
    args: Words = None
    name: str | None = None
    variant: str | None = None
    options: Words = None
    gpu: str | None = None
    gpu_memory: str | None = None
    replicas: str | None = None
    model_names: Words = None
    image: str | None = None
    engine: str | None = None
    env: Words = None
    mounts: Words = None
    public: bool = False


def make(flags: Flags, *, here: bool) -> dict[str, object]:
    """The spec in JSON form, with only what was given. `here`: the nodes see our files.

    Raises InvalidRequest, InvalidSpec, StokerError (the model's path does not exist).
    """
    from stoker.specs import ServiceSpec

    resources = {"gpu": _number(flags.gpu, "--gpu"), "gpu_memory": flags.gpu_memory}
    given = {
        "name": flags.name or service_name(flags.model),
        "model": resolve_model(flags.model, here=here),
        "model_name": flags.model_names,
        "variant": flags.variant,
        "options": parse_options(flags.options or (), "--option"),
        "args": flags.args,
        "image": flags.image,
        "engine": flags.engine,
        "env": parse_env(flags.env or (), "--env"),
        "mounts": parse_mounts(flags.mounts or ()),
        "resources": {name: value for name, value in resources.items() if value is not None},
        "replicas": None if flags.replicas is None else parse_replicas(flags.replicas),
        "open_to_public": flags.public or None,
    }
    return ServiceSpec.from_json({field: value for field, value in given.items() if value not in (None, {}, [])}).to_json()


def _number(text: str | None, flag: str) -> int | float | None:
    """As JSON reads it, so that 0.25 stays exact and 1 whole."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{flag} takes a number such as 1 or 0.25, not {text!r}")
    return value
