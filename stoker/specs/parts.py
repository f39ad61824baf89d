"""The blocks of a service: one class per block of the YAML, with the same names, defaults and ranges."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, PlainSerializer, model_serializer, model_validator

from stoker.resources import write_number, write_size
from stoker.specs.cron import cron, time_zone
from stoker.specs.fields import (
    MAX_REPLICAS,
    Cpu,
    Deeper,
    Flag,
    GpuShare,
    Labels,
    Lines,
    Part,
    Path,
    Seconds,
    Size,
    SomeSeconds,
    body_limit,
    kind_of,
    listed,
    matching,
    number,
    origin,
    positive,
    probe_path,
    seconds,
    secret_name,
    url_path,
    whole,
)

_VENDOR = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
_METRIC = re.compile(r"[a-z][a-z0-9_]{0,63}(:[A-Za-z_][A-Za-z0-9_:.]{0,127})?")

Cron = Annotated[str, BeforeValidator(cron)]


def seconds_or_never(value: object) -> float:
    """Seconds from 1; None is never, kept as infinity."""
    return math.inf if value is None or value == math.inf else seconds(1)(value)


def write_or_null(value: float | None) -> int | float | None:
    return None if value is None or value == math.inf else write_number(value)


class SecretRef(Part):
    """A value that is kept as a secret of the project and only known where the session runs."""

    secret: Annotated[str, BeforeValidator(secret_name)]


class Mount(Part):
    """A directory or file of the node inside the session."""

    source: Path
    target: Path
    read_only: Flag = True

    @model_validator(mode="after")
    def _below_the_root(self) -> Mount:
        if self.target == "/":
            raise Deeper(("target",), "must be a path below /")
        return self


class Resources(Part):
    """What one session is given; None is decided from the model. `gpu_memory` is per GPU."""

    cpu: Cpu | None = None
    memory: Size | None = None
    gpu: GpuShare | None = None
    gpu_memory: Size | None = None
    gpu_model: Lines = ()
    gpu_vendor: Annotated[str, BeforeValidator(matching(_VENDOR, "must be a vendor such as nvidia or amd"))] | None = None
    shm: Size | None = None

    @model_validator(mode="after")
    def _agree(self) -> Resources:
        if self.gpu == 0 and self.gpu_memory:
            raise ValueError("gpu is 0, so gpu_memory has no GPU to be on; leave one of them out")
        return self


class Placement(Part):
    """Which nodes may run a session, and whether replicas should be apart."""

    spread: Literal["prefer", "require", "none"] = "prefer"
    labels: Labels = Field(default_factory=dict)
    nodes: Lines = ()


class Replicas(Part):
    """How many sessions: a plain number is `fixed`, else between `min` and `max`. min 0 sleeps and wakes; fixed 0 is stopped."""

    min: Annotated[int, BeforeValidator(whole(0, MAX_REPLICAS))] = 1
    max: Annotated[int, BeforeValidator(whole(1, MAX_REPLICAS))] = 1
    fixed: bool = False

    @model_validator(mode="wrap")
    @classmethod
    def _number_or_range(cls, data: object, read: ModelWrapValidatorHandler[Replicas]) -> Replicas:
        if isinstance(data, int) and not isinstance(data, bool):
            count = whole(0, MAX_REPLICAS)(data)
            return cls.model_construct(min=count, max=count, fixed=True)
        if isinstance(data, Replicas):
            return data
        if not isinstance(data, dict) or not data:
            raise ValueError(f"must be a whole number or {{min: 0, max: 8}}, not {kind_of(data)}")
        if "fixed" in data:
            raise Deeper(("fixed",), "is no field; a plain number, as in replicas: 2, is fixed")
        if data.get("max") == 0:
            raise Deeper(("max",), "must be at least 1; write replicas: 0 to stop the service")
        least = data.get("min")
        found = read({**data, "max": max(least, 1)} if data.get("max") is None and isinstance(least, int) else data)
        if found.min > found.max:
            raise Deeper(("min",), f"is {found.min}, more than max, which is {found.max}")
        return found

    def __str__(self) -> str:
        """As the command line takes it: `2`, `0..8`."""
        return str(self.min) if self.fixed else f"{self.min}..{self.max}"

    @model_serializer
    def _write(self) -> int | dict[str, int]:
        return self.min if self.fixed else {"min": self.min, "max": self.max}


_metric = matching(_METRIC, "must be a metric such as gpu_util, requests_per_second or engine:waiting")


class Rule(Part):
    """One rule of scaling, in one of three forms: a target to hold, a step beyond a threshold, or a time of day."""

    metric: Annotated[str, BeforeValidator(_metric)] | None = None
    target: Annotated[float, BeforeValidator(positive)] | None = None
    comparator: Literal[">", ">=", "<", "<="] | None = None
    threshold: Annotated[float, BeforeValidator(number)] | None = None
    step: Annotated[int, BeforeValidator(whole(-MAX_REPLICAS, MAX_REPLICAS))] | None = None
    cooldown: Seconds | None = None
    min: Annotated[int, BeforeValidator(whole(0, MAX_REPLICAS))] | None = None
    max: Annotated[int, BeforeValidator(whole(0, MAX_REPLICAS))] | None = None
    cron: Cron | None = None
    duration: SomeSeconds | None = None
    timezone: Annotated[str, BeforeValidator(time_zone)] | None = None

    forms: ClassVar[tuple[tuple[frozenset[str], frozenset[str]], ...]] = (
        (frozenset({"metric", "target"}), frozenset()),
        (frozenset({"metric", "comparator", "threshold", "step"}), frozenset({"cooldown", "min", "max"})),
        (frozenset({"cron", "duration", "min"}), frozenset({"timezone"})),
    )
    """What each form needs, and what it may have besides."""

    @model_validator(mode="after")
    def _one_form(self) -> Rule:
        given = {field for field in self.model_fields_set if getattr(self, field) is not None}
        if not any(needs <= given <= needs | may for needs, may in self.forms):
            raise ValueError("must be {metric, target}, or {metric, comparator, threshold, step}, or {cron, duration, min}")
        if self.step == 0:
            raise Deeper(("step",), "must be how many replicas to add or, below 0, to take away, not 0")
        return self


class JobsWake(Part):
    """When jobs wake a sleeping service: at once (`now`), when so many wait, or at certain times."""

    waiting: Annotated[int, BeforeValidator(whole(1, 1_000_000))] | None = None
    cron: Cron | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _now_or_block(cls, data: object, read: ModelWrapValidatorHandler[JobsWake]) -> JobsWake:
        if data == "now":
            return cls.model_construct()
        if isinstance(data, JobsWake):
            return data
        if not isinstance(data, dict):
            raise ValueError('must be now, {waiting: 10} or {cron: "0 20 * * *"}')
        found = read(data)
        if (found.waiting is None) == (found.cron is None):
            raise ValueError('must be now, {waiting: 10} or {cron: "0 20 * * *"}, one of them')
        return found

    @model_serializer
    def _write(self) -> str | dict[str, Any]:
        given = {"waiting": self.waiting, "cron": self.cron}
        return {key: value for key, value in given.items() if value is not None} or "now"


class Autoscaling(Part):
    """How the number of sessions follows the load. idle_seconds None: to zero only when another needs the room."""

    keeps_null: ClassVar[frozenset[str]] = frozenset({"idle_seconds"})

    target_concurrency: Annotated[int, BeforeValidator(whole(1, 100_000))] | None = None
    idle_seconds: SomeSeconds | None = 300.0
    keep_warm: Annotated[int, BeforeValidator(whole(0, MAX_REPLICAS))] = 0
    rules: Annotated[tuple[Rule, ...], Field(max_length=64)] = ()
    jobs_wake: JobsWake = JobsWake.model_construct()
    enabled: Flag = True


class HealthCheckSpec(Part):
    """What a user says about probing; None is the variant's. `replace_after: null` in YAML is math.inf here: never."""

    keeps_null: ClassVar[frozenset[str]] = frozenset({"replace_after"})

    enable: Flag | None = None
    path: Annotated[str, BeforeValidator(probe_path)] | None = None
    interval: Annotated[float, BeforeValidator(seconds(0.1, 3600)), PlainSerializer(write_number)] | None = None
    max_retries: Annotated[int, BeforeValidator(whole(1, 10_000))] | None = None
    max_wait_time: Annotated[float, BeforeValidator(seconds(0.1, 3600)), PlainSerializer(write_number)] | None = None
    expected_status_code: Annotated[int, BeforeValidator(whole(100, 599))] | None = None
    start_timeout: Annotated[float, BeforeValidator(seconds(1)), PlainSerializer(write_number)] | None = None
    replace_after: Annotated[float | None, BeforeValidator(seconds_or_never), PlainSerializer(write_or_null)] = None


class Routing(Part):
    """How requests reach the sessions. Seconds; `max_concurrency` None is the variant's."""

    policy: Literal["least_outstanding", "round_robin", "weighted", "power_of_two"] = "least_outstanding"
    affinity: Literal["none", "session", "prefix"] = "none"
    max_concurrency: Annotated[int, BeforeValidator(whole(1, 100_000))] | None = None
    queue: Annotated[int, BeforeValidator(whole(0, 1_000_000))] = 1000
    queue_timeout: Seconds = 300.0
    first_byte_timeout: SomeSeconds = 600.0
    idle_timeout: SomeSeconds = 300.0
    timeout: SomeSeconds = 3600.0
    retries: Annotated[int, BeforeValidator(whole(0, 10))] = 2
    hedge: Flag = False
    continue_streams: Flag = False
    max_body: Annotated[int, BeforeValidator(body_limit), PlainSerializer(write_size)] = 32 * 2**20
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(listed(origin))] = ()
    allow_paths: Annotated[tuple[str, ...], BeforeValidator(listed(url_path))] = ()
    deny_paths: Annotated[tuple[str, ...], BeforeValidator(listed(url_path))] = ()


class Rollout(Part):
    """How sessions of a new revision take over. if_no_room None: `replace` where there is one node, else `wait`."""

    max_surge: Annotated[int, BeforeValidator(whole(0, MAX_REPLICAS))] = 1
    max_unavailable: Annotated[int, BeforeValidator(whole(0, MAX_REPLICAS))] = 0
    drain_seconds: Seconds = 300.0
    if_no_room: Literal["wait", "replace"] | None = None

    @model_validator(mode="after")
    def _can_move(self) -> Rollout:
        if self.max_surge == 0 and self.max_unavailable == 0:
            raise ValueError("has max_surge 0 and max_unavailable 0, so nothing could ever be replaced; raise one of them")
        return self
