"""The other kinds of documents: projects, resource groups, presets. Their form is checked; who acts on them comes later."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer

from stoker.resources import parse_cpu, parse_gpus, write_number
from stoker.specs.fields import Name, Part, Size, positive, whole
from stoker.specs.parts import Resources
from stoker.specs.root import Root

MOST = 10_000_000

Count = Annotated[int, BeforeValidator(whole(0, MOST))]
Cpus = Annotated[int, BeforeValidator(lambda value: parse_cpu(value, MOST)), PlainSerializer(lambda millis: write_number(millis / 1000))]
Gpus = Annotated[int, BeforeValidator(lambda value: parse_gpus(value, MOST)), PlainSerializer(lambda share: write_number(share / 100))]


class Quota(Part):
    """The most that all sessions of a project may hold together; None is no limit."""

    gpu: Gpus | None = None
    cpu: Cpus | None = None
    memory: Size | None = None
    sessions: Count | None = None
    pending_sessions: Count | None = None
    pending_gpu: Gpus | None = None


class ProjectSpec(Root):
    """Who owns services; `weight` is its share where projects compete."""

    kind: Literal["project"]
    name: Name
    quota: Quota = Quota()
    weight: Annotated[float, BeforeValidator(positive)] = 1.0


class ResourceGroupSpec(Root):
    """Nodes that are scheduled together, and in which order and manner."""

    kind: Literal["resource_group"]
    name: Name
    order: Literal["fifo", "lifo", "drf", "fair_share"] = "fifo"
    strategy: Literal["spread", "pack"] = "spread"
    allocation: Literal["evenly", "fill"] = "evenly"


class PresetSpec(Root):
    """A named amount of resources."""

    kind: Literal["preset"]
    name: Name
    resources: Resources
