"""The service: what a user wants served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from stoker.specs.fields import (
    Argv,
    Deeper,
    Flag,
    Labels,
    Name,
    absolute_path,
    at,
    kind_of,
    line,
    listed,
    mapped,
    matching,
    secret_name,
    text,
    whole,
)
from stoker.specs.json_values import json_object
from stoker.specs.parts import (
    Autoscaling,
    HealthCheckSpec,
    Mount,
    Placement,
    Replicas,
    Resources,
    Rollout,
    Routing,
    SecretRef,
)
from stoker.specs.root import Root

_STORE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")
_HUB = re.compile(r"hf:[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9][A-Za-z0-9._/-]*)?(:[^\s:]+)?")
_ENGINE = re.compile(r"[a-z0-9][a-z0-9._-]*(==[A-Za-z0-9][A-Za-z0-9.+!_-]*)?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*")
_VARIANT = re.compile(r"[a-z][a-z0-9_]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ALIASES = {"cmd": "command", "huggingface_tgi": "tgi", "modular_max": "max"}

EnvValue = str | SecretRef


def model_reference(value: object) -> str:
    """A name in the model store, an absolute path, `hf:org/name[@revision][:file glob]` or `demo`."""
    found = line(value)
    if found.startswith("/"):
        return absolute_path(found)
    if found.startswith("hf:"):
        if not _HUB.fullmatch(found) or ".." in found:
            raise ValueError("must be hf:ORG/NAME, with @REVISION and :FILE-GLOB behind it where wanted")
        return found
    if not _STORE_NAME.fullmatch(found):
        raise ValueError("must be a name in the model store, an absolute path, hf:ORG/NAME or demo; nodes know no relative path")
    return found


def variant_word(value: object) -> str:
    """The variant's word with `_` for `-`, other platforms' names mapped to ours."""
    word = line(value).replace("-", "_")
    if not _VARIANT.fullmatch(word):
        raise ValueError("must be a variant's name such as vllm; `stoker variant ls` lists them")
    return _ALIASES.get(word, word)


def argv(value: object) -> tuple[str, ...]:
    """A start command as a list; it never passes a shell."""
    if isinstance(value, str):
        raise ValueError("must be a list of words, as in [python, serve.py]; it never passes a shell")
    found: tuple[str, ...] = listed(text, most=1024)(value)
    if not found or not found[0].strip():
        raise ValueError("is empty; its first word is the program")
    return found


def env_value(value: object) -> EnvValue:
    """Text, a number (as text) or {secret: NAME}; true, false and null are refused, since nobody agrees on their text."""
    if value is None or isinstance(value, bool):
        word = "null" if value is None else str(value).lower()
        raise ValueError(f'must be text, not {word}; quote it: "{word}"')
    if isinstance(value, SecretRef):
        return value
    if isinstance(value, dict):
        if set(value) != {"secret"}:
            raise ValueError("must be text, a number or {secret: NAME}")
        return SecretRef(secret=at("secret", secret_name, value["secret"]))
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be text, a number or {{secret: NAME}}, not {kind_of(value)}")
    return text(value)


def only_one(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value != 1:
        raise ValueError("must be the whole number 1 today: sessions of several containers are not supported yet")
    return 1


_variable = matching(_VARIABLE, "must be a variable's name: letters, digits and _, not beginning with a digit")


def model_names(value: object) -> tuple[str, ...]:
    """Names that clients may send as `model`, each once."""
    return tuple(dict.fromkeys(listed(line, most=32)(value)))


class ServiceSpec(Root):
    """A service as applied. None, "auto" and empty tuples are decided later, from the model's files and the nodes."""

    kind: Literal["service"] = "service"
    name: Name
    project: Name = "default"
    labels: Labels = Field(default_factory=dict)
    model: Annotated[str, BeforeValidator(model_reference)]
    model_name: Annotated[tuple[str, ...], BeforeValidator(model_names)] = ()
    variant: Annotated[str, BeforeValidator(variant_word)] = "auto"
    options: Annotated[dict[str, Any], BeforeValidator(json_object)] = Field(default_factory=dict)
    args: Argv = ()
    command: Annotated[tuple[str, ...], BeforeValidator(argv)] | None = None
    image: Annotated[str, BeforeValidator(matching(_IMAGE, "must be an image such as vllm/vllm-openai:v0.33.0"))] | None = None
    engine: Annotated[str, BeforeValidator(matching(_ENGINE, "must be an engine such as vllm or vllm==0.33.0"))] | None = None
    runtime: Literal["docker", "process"] | None = None
    port: Annotated[int, BeforeValidator(whole(1, 65535))] | None = None
    env: Annotated[dict[str, EnvValue], BeforeValidator(mapped(_variable, env_value))] = Field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    model_access: Literal["ro", "rw"] | None = None
    egress: Flag | None = None
    resources: Resources = Resources()
    cluster_size: Annotated[int, BeforeValidator(only_one)] = 1
    resource_group: Name = "default"
    placement: Placement = Placement()
    replicas: Replicas = Replicas.model_construct(min=1, max=1, fixed=True)
    priority: Annotated[int, BeforeValidator(whole(0, 100))] = 10
    preemptible: Flag = False
    autoscaling: Autoscaling = Autoscaling()
    open_to_public: Flag = False
    health_check: HealthCheckSpec = HealthCheckSpec()
    routing: Routing = Routing()
    rollout: Rollout = Rollout()

    restart_nothing: ClassVar[frozenset[str]] = frozenset(
        {"replicas", "autoscaling", "routing", "priority", "open_to_public", "labels", "preemptible", "rollout"}
    )
    """Fields whose change leaves running sessions as they are."""

    @model_validator(mode="after")
    def _agree(self) -> ServiceSpec:
        targets = [mount.target for mount in self.mounts]
        if len(set(targets)) < len(targets):
            raise Deeper(("mounts",), "has the same target twice")
        if self.replicas.fixed and self.replicas.max > 0 and self.autoscaling.model_fields_set:
            raise Deeper(("autoscaling",), "works only with replicas: {min, max}; write replicas so, or leave autoscaling out")
        if not self.replicas.fixed and self.autoscaling.keep_warm > self.replicas.max:
            raise Deeper(("autoscaling", "keep_warm"), f"is more than replicas.max, which is {self.replicas.max}")
        return self

    def scaled(self, replicas: int | Mapping[str, int]) -> ServiceSpec:
        """This spec with other replicas. Autoscaling is kept through 0 and dropped at a fixed number, where nothing scales.

        Raises InvalidSpec where `replicas` is neither a number from 0 nor {min, max}.
        """
        fixed = isinstance(replicas, int) and replicas > 0
        kept = {field: value for field, value in self.to_json().items() if not (fixed and field == "autoscaling")}
        return ServiceSpec.from_json({**kept, "replicas": replicas})
