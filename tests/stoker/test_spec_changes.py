"""Two specs compared: what changed, whether sessions must, and what has no effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.errors import InvalidSpec
from stoker.specs import ServiceSpec, changes_sessions, diff, parse_documents, refuse_frozen, without_effect
from stoker.specs.changes import NOT_YET

ROOT = Path(__file__).resolve().parents[2]
RANGE = {"min": 0, "max": 8}


def spec(**fields: Any) -> ServiceSpec:
    return ServiceSpec.from_json({"name": "x", "model": "demo", **fields})


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({}, {}, []),
        ({"resources": {"gpu": 1}}, {"resources": {"gpu": 2}}, ["resources.gpu: 1 -> 2"]),
        ({}, {"resources": {"memory": "64GiB"}}, ["resources.memory: default -> 64GiB"]),
        ({}, {"replicas": 1, "routing": {"queue": 1000}}, []),
        ({}, {"routing": {"queue": 50, "timeout": "5m"}}, ["routing.queue: 1000 -> 50", "routing.timeout: 3600 -> 300"]),
        ({"replicas": 2}, {"replicas": RANGE}, ["replicas: 2 -> 0..8"]),
        ({"env": {"A": "b"}}, {"env": {"A": "c", "B": "d"}}, ["env.A: b -> c", "env.B: none -> d"]),
        ({"env": {"A": "b"}}, {}, ["env.A: b -> none"]),
        ({}, {"env": {"A": "b\nc"}}, ["env.A: none -> b\\nc"]),
        ({"env": {"A": "b"}}, {"env": {"A": {"secret": "s"}}}, ["env.A: b -> secret:s"]),
        ({"args": ["--a"]}, {"args": ["--a", "--b"]}, ['args: ["--a"] -> ["--a", "--b"]']),
        ({}, {"open_to_public": True}, ["open_to_public: false -> true"]),
        ({}, {"health_check": {"replace_after": None}}, ["health_check.replace_after: default -> null"]),
        ({"options": {"a": 1}}, {"options": {"a": 2}}, ["options.a: 1 -> 2"]),
        ({}, {"command": ["x" * 500]}, [f'command: default -> ["{"x" * 118}…']),
    ],
)
def test_a_diff_is_readable(before: dict[str, Any], after: dict[str, Any], lines: list[str]) -> None:
    assert diff(spec(**before), spec(**after)) == lines


def test_a_diff_against_nothing_is_what_was_given() -> None:
    assert diff(None, spec(replicas=2)) == ["name: none -> x", "model: none -> demo", "replicas: none -> 2"]


def test_what_sounds_secret_is_not_shown() -> None:
    lines = diff(spec(env={"HF_TOKEN": "old", "DB_PASSWORD": "x"}), spec(env={"HF_TOKEN": "new"}))
    assert lines == ["env.HF_TOKEN: (hidden) -> (hidden)", "env.DB_PASSWORD: (hidden) -> none"]


@pytest.mark.parametrize(
    "after",
    [
        {"replicas": RANGE},
        {"replicas": RANGE, "autoscaling": {"idle_seconds": 5}},
        {"routing": {"queue": 1}},
        {"priority": 1},
        {"open_to_public": True},
        {"labels": {"a": "b"}},
        {"replicas": 1, "resources": {}, "runtime": None},
    ],
)
def test_what_restarts_nothing(after: dict[str, Any]) -> None:
    assert not changes_sessions(spec(), spec(**after))


@pytest.mark.parametrize(
    "after",
    [
        {"model": "other"},
        {"variant": "vllm"},
        {"args": ["--a"]},
        {"env": {"A": "b"}},
        {"resources": {"gpu": 1}},
        {"image": "a:b"},
        {"port": 8000},
        {"options": {"a": 1}},
        {"model_name": ["other"]},
        {"health_check": {"path": "/x"}},
    ],
)
def test_what_restarts_sessions(after: dict[str, Any]) -> None:
    assert changes_sessions(spec(), spec(**after))


@pytest.mark.parametrize("field", ["name", "project", "resource_group"])
def test_what_cannot_change(field: str) -> None:
    refuse_frozen(spec(), spec(model="other", replicas=3))
    with pytest.raises(InvalidSpec, match=f"{field} cannot change") as caught:
        refuse_frozen(spec(), spec(**{field: "other"}))
    assert caught.value.param == field


def test_a_plain_service_has_no_field_without_effect() -> None:
    assert (
        without_effect(spec(replicas={"min": 0}, priority=3, env={"A": "b"}, resources={"gpu": 1}, autoscaling={"idle_seconds": 5})) == []
    )


def test_what_is_not_there_yet_is_named() -> None:
    found = without_effect(spec(replicas={"min": 2}, autoscaling={"keep_warm": 2, "jobs_wake": {"waiting": 5}}, preemptible=True))
    assert [sentence.split(" has no effect")[0] for sentence in found] == ["preemptible", "autoscaling.keep_warm"]


def test_what_means_nothing_beside_another_field_is_named() -> None:
    process = spec(runtime="process", image="a:b", mounts=[{"source": "/a", "target": "/b"}], egress=False, resources={"shm": "1GiB"})
    assert [sentence.split()[0] for sentence in without_effect(process)] == ["mounts", "egress", "resources.shm", "image"]


def test_every_field_that_is_not_there_yet_exists() -> None:
    """`without_effect` looks each of them up, so a misspelt path would raise."""
    assert all(" " not in path and why for path, why in NOT_YET.items())
    for document in parse_documents((ROOT / "docs" / "service.example.yaml").read_text()):
        if isinstance(document.spec, ServiceSpec):
            assert all(". " not in sentence for sentence in without_effect(document.spec))
