"""The service YAML of the public contract, field by field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from stoker.errors import InvalidSpec
from stoker.specs import (
    Document,
    JobsWake,
    Mount,
    PresetSpec,
    ProjectSpec,
    Replicas,
    ResourceGroupSpec,
    Rule,
    SecretRef,
    ServiceSpec,
    parse_documents,
)

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "service.example.yaml"
KINDS = ROOT / "docs" / "kinds.example.yaml"


def example_documents() -> list[Document]:
    """Of both files: together they have every field of every kind."""
    return [*parse_documents(EXAMPLE.read_text()), *parse_documents(KINDS.read_text())]


GIB = 2**30
RANGE = {"min": 0, "max": 8}


def spec(**fields: Any) -> ServiceSpec:
    return ServiceSpec.from_json({"name": "x", "model": "demo", **fields})


# ── defaults and meanings ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_field_but_name_and_model_has_a_default() -> None:
    found = spec()
    assert found.to_json() == {"name": "x", "model": "demo"}
    assert (found.kind, found.project, found.variant, found.resource_group, found.cluster_size) == (
        "service",
        "default",
        "auto",
        "default",
        1,
    )
    assert (found.replicas.min, found.replicas.max, found.replicas.fixed) == (1, 1, True)
    assert (found.priority, found.preemptible, found.open_to_public, found.placement.spread) == (10, False, False, "prefer")
    assert (found.runtime, found.image, found.engine, found.port, found.egress, found.model_access) == (None,) * 6
    assert found.resources.model_dump() == dict.fromkeys(("cpu", "memory", "gpu", "gpu_memory", "gpu_vendor", "shm")) | {"gpu_model": ()}
    routing = found.routing
    assert (routing.policy, routing.max_concurrency, routing.queue, routing.max_body) == ("least_outstanding", None, 1000, 32 * 2**20)
    assert (routing.queue_timeout, routing.first_byte_timeout, routing.idle_timeout, routing.timeout) == (300, 600, 300, 3600)
    assert (routing.retries, routing.hedge, routing.continue_streams, routing.affinity) == (2, False, False, "none")
    assert (found.autoscaling.idle_seconds, found.autoscaling.enabled, found.autoscaling.target_concurrency) == (300, True, None)
    rollout = found.rollout
    assert (rollout.max_surge, rollout.max_unavailable, rollout.drain_seconds, rollout.if_no_room) == (1, 0, 300, None)


@pytest.mark.parametrize("field", [name for name in ServiceSpec.model_fields if name not in ("name", "model")])
def test_null_means_the_default(field: str) -> None:
    assert spec(**{field: None}) == spec()
    assert field not in spec(**{field: None}).to_json()


def test_units() -> None:
    found = spec(
        resources={"cpu": 0.5, "memory": "64GiB", "gpu": 0.25, "gpu_memory": "2GB", "gpu_model": ["H100"], "shm": 2**30},
        routing={"timeout": "1h", "max_body": "1MiB"},
        health_check={"start_timeout": "30m", "interval": 2.5},
    )
    resources = found.resources
    assert (resources.cpu, resources.memory, resources.gpu, resources.gpu_memory) == (500, 64 * GIB, 25, 2 * 10**9)
    assert (resources.gpu_model, resources.shm, found.routing.timeout, found.routing.max_body) == (("H100",), GIB, 3600, 2**20)
    assert (found.health_check.start_timeout, found.health_check.interval) == (1800, 2.5)


@pytest.mark.parametrize(
    ("word", "variant"),
    [
        ("cmd", "command"),
        ("huggingface-tgi", "tgi"),
        ("huggingface_tgi", "tgi"),
        ("modular-max", "max"),
        ("llama-cpp", "llama_cpp"),
        ("vllm", "vllm"),
    ],
)
def test_other_names_of_variants(word: str, variant: str) -> None:
    assert spec(variant=word).variant == variant


@pytest.mark.parametrize(
    ("given_as", "low", "high", "fixed"),
    [
        (0, 0, 0, True),
        (3, 3, 3, True),
        ({"min": 0}, 0, 1, False),
        ({"min": 4}, 4, 4, False),
        ({"max": 4}, 1, 4, False),
        (RANGE, 0, 8, False),
    ],
)
def test_replicas(given_as: object, low: int, high: int, fixed: bool) -> None:
    replicas = spec(replicas=given_as).replicas
    assert (replicas.min, replicas.max, replicas.fixed) == (low, high, fixed)
    assert spec(replicas=given_as).to_json()["replicas"] == (low if fixed else {"min": low, "max": high})


def test_env_takes_text_numbers_and_secrets() -> None:
    found = spec(env={"A": "b", "N": 5, "F": 0.5, "S": {"secret": "hf-token"}, "E": "", "PEM": "a\nb"})
    assert found.env == {"A": "b", "N": "5", "F": "0.5", "S": SecretRef(secret="hf-token"), "E": "", "PEM": "a\nb"}


def test_a_model_name_counts_once() -> None:
    assert spec(model_name=["a", "a"]).model_name == ("a",)


def test_null_is_never_where_never_makes_sense() -> None:
    found = spec(health_check={"replace_after": None}, autoscaling={"idle_seconds": None}, replicas=RANGE)
    assert found.health_check.replace_after == math.inf and found.autoscaling.idle_seconds is None
    assert found.to_json()["health_check"] == {"replace_after": None} and found.to_json()["autoscaling"] == {"idle_seconds": None}
    assert ServiceSpec.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "model",
    ["demo", "calm3-22b-chat", "Qwen/Qwen3-0.6B", "/srv/models/x", "/srv/x.gguf", "hf:org/name", "hf:org/name@v1.0", "hf:o/n:*Q4_K_M.gguf"],
)
def test_models(model: str) -> None:
    assert spec(model=model).model == model


def test_jobs_wake() -> None:
    assert spec(autoscaling={"jobs_wake": "now"}, replicas=RANGE).autoscaling.jobs_wake == JobsWake.model_construct()
    assert spec(autoscaling={"jobs_wake": {"waiting": 5}}, replicas=RANGE).autoscaling.jobs_wake.waiting == 5


# ── the example, and the way back ────────────────────────────────────────────────────────────────────────────────────


def _models(value: object) -> Iterator[BaseModel]:
    """Every block in a spec, from the outside in."""
    if isinstance(value, BaseModel):
        yield value
        for field in type(value).model_fields:
            yield from _models(getattr(value, field))
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ():
        yield from _models(entry)


def _kinds_of_blocks(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _kinds_of_blocks(field.annotation)
    for part in getattr(annotation, "__args__", ()):
        yield from _kinds_of_blocks(part)


def test_the_example_exercises_every_field_of_every_block() -> None:
    given_fields: dict[type[BaseModel], set[str]] = {}
    for document in example_documents():
        for block in _models(document.spec):
            given_fields.setdefault(type(block), set()).update(block.model_fields_set)
    blocks = {b for root in (ServiceSpec, ProjectSpec, ResourceGroupSpec, PresetSpec) for b in _kinds_of_blocks(root)}
    assert {Mount, SecretRef, Rule} < blocks
    missing = {b.__name__: set(b.model_fields) - given_fields.get(b, set()) for b in blocks - {Replicas, JobsWake}}
    assert {name: fields for name, fields in missing.items() if fields} == {}
    text = EXAMPLE.read_text()
    assert all(
        form in text for form in ("replicas: {min: 0, max: 8}", "replicas: 2", "jobs_wake: now", "{waiting: 10}", '{cron: "0 20 * * *"}')
    )


def test_every_document_in_the_pages_is_valid() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    blocks = [block for page in pages for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)]
    documents = [parse_documents(block) for block in blocks if re.search(r"^(name|kind):", block, re.MULTILINE)]
    assert documents and all(documents)


def test_the_example_round_trips() -> None:
    for document in example_documents():
        again = type(document.spec).from_json(document.spec.to_json())
        assert again == document.spec and again.to_json() == document.spec.to_json()


def test_two_spellings_of_the_same_are_equal() -> None:
    one = spec(
        resources={"memory": "1GiB", "cpu": 2, "gpu": 1},
        routing={"timeout": "5m"},
        variant="huggingface-tgi",
        model_name=["a", "a"],
        labels={},
    )
    two = spec(
        resources={"memory": 2**30, "cpu": "2.0", "gpu": 1.0}, routing={"timeout": 300.0}, variant="tgi", model_name=["a"], mounts=[]
    )
    assert one.to_json() == two.to_json() and one.to_json()["resources"] == {"cpu": 2, "memory": "1GiB", "gpu": 1}


def test_scaled_keeps_autoscaling_through_zero() -> None:
    before = spec(replicas=RANGE, autoscaling={"idle_seconds": 60})
    stopped = before.scaled(0)
    assert stopped.to_json()["replicas"] == 0 and stopped.scaled(RANGE) == before
    assert before.scaled(3).to_json() == {"name": "x", "model": "demo", "replicas": 3}
    with pytest.raises(InvalidSpec, match="replicas"):
        before.scaled(-1)


sizes = st.integers(2**20, 2**50) | st.sampled_from(["1GiB", "1.5GiB", "2GB", "512Mi"])
durations = st.integers(1, 3600) | st.floats(1, 3600) | st.sampled_from(["30s", "5m", "2h", "250ms"])
shares = st.integers(0, 8) | st.integers(1, 100).map(lambda hundredths: hundredths / 100)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text("ab ", max_size=4), st.lists, max_leaves=4
)
texts = st.text("abcé-_ ", min_size=1, max_size=8).filter(str.strip)
services = st.fixed_dictionaries(
    {"name": st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True), "model": st.sampled_from(["demo", "/a//b/", "hf:a/b"])},
    optional={
        "labels": st.dictionaries(st.text("abc", min_size=1, max_size=3), texts, max_size=3),
        "model_name": st.lists(texts, max_size=3),
        "variant": st.sampled_from(["auto", "cmd", "vllm", "modular-max"]),
        "options": st.dictionaries(st.text("abc", min_size=1, max_size=3), json_values, max_size=3),
        "env": st.dictionaries(
            st.text("ABC", min_size=1, max_size=3), texts | st.integers(-(10**9), 10**9) | st.just({"secret": "s"}), max_size=3
        ),
        "resources": st.fixed_dictionaries(
            {}, optional={"cpu": shares, "memory": sizes, "gpu": st.integers(1, 8), "gpu_memory": sizes, "shm": sizes}
        ),
        "replicas": st.integers(0, 5) | st.tuples(st.integers(0, 5), st.integers(1, 5)).map(lambda p: {"min": min(p), "max": max(p)}),
        "health_check": st.fixed_dictionaries(
            {},
            optional={
                "start_timeout": durations.filter(lambda d: d != "250ms"),
                "replace_after": st.none() | st.floats(1, 1e6),
                "enable": st.booleans(),
            },
        ),
        "routing": st.fixed_dictionaries(
            {}, optional={"timeout": durations, "max_body": sizes.filter(lambda size: isinstance(size, str)), "queue": st.integers(0, 9)}
        ),
        "egress": st.none() | st.booleans(),
    },
)


@settings(deadline=None)
@given(services)
def test_what_is_written_back_is_stable(data: dict[str, Any]) -> None:
    first = ServiceSpec.from_json(data)
    written = first.to_json()
    second = ServiceSpec.from_json(written)
    assert second == first and second.to_json() == written
