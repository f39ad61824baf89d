"""The schema of model-definition.yaml, as the reference platform has it. Unknown keys are ignored, kebab-case is read as snake_case."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from model_variants.base import Unsuitable
from stoker.errors import InvalidSpec
from stoker.records import HealthCheck
from stoker.specs.strict_yaml import load

ACTIONS = ("run_command", "mkdir", "write_file", "write_tempfile", "log")
_ACTIONS_LIMIT = 100


class _Block(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _snake_case(cls, data: Any) -> Any:
        return {str(key).replace("-", "_"): value for key, value in data.items()} if isinstance(data, dict) else data


class Action(_Block):
    """`ref` keeps the action's result under a name for later `{ref}`s."""

    action: str
    args: dict[str, Any] = {}
    ref: str | None = None

    @field_validator("action")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ACTIONS:
            raise ValueError(f"there is no action {value!r}; there are: {', '.join(ACTIONS)}")
        return value


class Health(_Block):
    """A block that is there and not empty turns the check on; `initial_delay` is how long a start may take."""

    enable: bool = True
    path: str = Field("/health", pattern=r"^/")
    interval: float = Field(10.0, gt=0)
    max_retries: int = Field(10, ge=1)
    max_wait_time: float = Field(15.0, gt=0)
    expected_status_code: int = Field(200, gt=100, lt=600)
    initial_delay: float | None = Field(None, ge=0)


class Service(_Block):
    """`start_command` as text goes through `shell` (/bin/bash unless said; null: none), as a list it never does. `command` wins."""

    pre_start_actions: tuple[Action, ...] = Field((), max_length=_ACTIONS_LIMIT)
    start_command: str | tuple[str, ...] | None = None
    command: str | tuple[str, ...] | None = None
    shell: str | None = "/bin/bash"
    port: int = Field(gt=1, le=65535)
    health_check: Health | None = None

    @field_validator("pre_start_actions", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any) -> Any:
        return () if value is None else value

    @field_validator("start_command", "command", mode="before")
    @classmethod
    def _numbers_are_words(cls, value: Any) -> Any:
        return [str(word) if isinstance(word, int | float) else word for word in value] if isinstance(value, list) else value


class Model(_Block):
    name: str = Field(min_length=1)
    model_path: str = "/models"
    service: Service | None = None


class _Definition(_Block):
    models: tuple[Model, ...] = Field(min_length=1)


def read_definition(text: str) -> Model:
    """The one model of a definition. Raises Unsuitable("definition_failed") with the field that is wrong."""
    try:
        documents = load(text)
        found = _Definition.model_validate(documents[0].value if documents else {})
    except InvalidSpec as error:
        raise Unsuitable("definition_failed", f"model-definition.yaml: {error.message}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise Unsuitable("definition_failed", f"model-definition.yaml, {place}: {first['msg'].removeprefix('Value error, ')}") from None
    if len(found.models) > 1:
        names = ", ".join(model.name for model in found.models)
        raise Unsuitable(
            "definition_failed", f"model-definition.yaml defines {len(found.models)} models ({names}): one per folder is served"
        )
    if found.models[0].service is None:
        raise Unsuitable("definition_failed", "model-definition.yaml has no `service` block: it says nothing about what to start")
    return found.models[0]


def health_of(service: Service) -> HealthCheck:
    """Without the block nothing is checked."""
    check = service.health_check
    if check is None or not check.enable:
        return HealthCheck(enable=False, path=None)
    known = check.model_dump(exclude={"initial_delay", "enable"})
    return HealthCheck(**known, start_timeout=1800.0 if check.initial_delay is None else max(check.initial_delay, 1.0), replace_after=None)
