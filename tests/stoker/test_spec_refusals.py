"""What a service's YAML may not say: one sentence each, with the field it is about."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.errors import InvalidSpec
from stoker.specs import ProjectSpec, ServiceSpec, parse_documents

RANGE = {"min": 0, "max": 8}


def spec(**fields: Any) -> ServiceSpec:
    return ServiceSpec.from_json({"name": "x", "model": "demo", **fields})


def refusal(**fields: Any) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        spec(**fields)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"name": "Calm3"}, "name", "a-z, 0-9 and -"),
        ({"name": "-a"}, "name", "a-z"),
        ({"name": "a" * 64}, "name", "1 to 63"),
        ({"name": 5}, "name", "quote it"),
        ({"name": "a\n"}, "name", "line"),
        ({"project": "My Project"}, "project", "a-z"),
        ({"modle_name": ["x"]}, "modle_name", "did you mean model_name?"),
        ({"replica": 2}, "replica", "did you mean replicas?"),
        ({"zzz": 2}, "zzz", "is no field"),
        ({"resources": {"gpus": 1}}, "resources.gpus", "did you mean gpu?"),
        ({"resources": {"gpu-memory": "1GiB"}}, "resources.gpu-memory", "did you mean gpu_memory?"),
        ({"placement": {"zone": "a"}}, "placement.zone", "there are spread, labels, nodes"),
        ({"model": "../etc"}, "model", "absolute path"),
        ({"model": "./models/x"}, "model", "no relative path"),
        ({"model": "~/models/x"}, "model", "no relative path"),
        ({"model": "/srv/../etc/x"}, "model", "`..`"),
        ({"model": "a/../../b"}, "model", "model store"),
        ({"model": "hf:name"}, "model", "hf:ORG/NAME"),
        ({"model": "https://example.org/x"}, "model", "model store"),
        ({"model": ""}, "model", "is empty"),
        ({"model": ["a"]}, "model", "must be text, not a list"),
        ({"model": 3.5}, "model", "quote it"),
        ({"model_name": 5}, "model_name", "must be a list"),
        ({"model_name": ["a", 5]}, "model_name[1]", "quote it"),
        ({"variant": "vLLM!"}, "variant", "stoker variant ls"),
        ({"options": ["a"]}, "options", "mapping"),
        ({"options": {"a": {"b": [object()]}}}, "options.a.b[0]", "must be text"),
        ({"options": {"a": [10**20]}}, "options.a[0]", "more than 20 digits"),
        ({"options": {"a": float("inf")}}, "options.a", "finite"),
        ({"args": "--fast"}, "args", "must be a list"),
        ({"args": "fast"}, "args", "write [fast]"),
        ({"model_name": "foo"}, "model_name", "write [foo]"),
        ({"resources": {"gpu_model": "H100"}}, "resources.gpu_model", "write [H100]"),
        ({"model_name": "a: b"}, "model_name", "as in [one, two]"),
        ({"cluster_size": 1.0}, "cluster_size", "the whole number 1"),
        ({"replicas": 1.0}, "replicas", "must be a whole number"),
        ({"port": 8000.0}, "port", "must be a whole number"),
        ({"args": ["--port", 8000]}, "args[1]", "quote it"),
        ({"command": "python serve.py"}, "command", "never passes a shell"),
        ({"command": []}, "command", "is empty"),
        ({"image": "--privileged"}, "image", "must be an image"),
        ({"image": "a b"}, "image", "must be an image"),
        ({"engine": "vllm>=0.3"}, "engine", "vllm==0.33.0"),
        ({"runtime": "podman"}, "runtime", "one of docker, process"),
        ({"port": 0}, "port", "1 to 65535"),
        ({"port": "8000"}, "port", "not text"),
        ({"port": True}, "port", "not true or false"),
        ({"env": {"A": True}}, "env.A", 'must be text, not true; quote it: "true"'),
        ({"env": {"A": False}}, "env.A", 'quote it: "false"'),
        ({"env": {"A": None}}, "env.A", 'quote it: "null"'),
        ({"env": {"A": ["b"]}}, "env.A", "not a list"),
        ({"env": {"A": {"secrets": "b"}}}, "env.A", "{secret: NAME}"),
        ({"env": {"A": {"secret": "../b"}}}, "env.A.secret", "secret's name"),
        ({"env": {"1A": "b"}}, "env.1A", "variable's name"),
        ({"env": {"A B": "b"}}, "env.A B", "variable's name"),
        ({"env": ["A=b"]}, "env", "mapping"),
        ({"env": {"A": "a\0b"}}, "env.A", "control character"),
        ({"mounts": [{"source": "data", "target": "/x"}]}, "mounts[0].source", "absolute"),
        ({"mounts": [{"source": "/a/../etc", "target": "/x"}]}, "mounts[0].source", "`..`"),
        ({"mounts": [{"source": "/a", "target": "/x"}, {"source": "/b"}]}, "mounts[1].target", "is missing"),
        ({"mounts": [{"source": "/a", "target": "/x"}, {"source": "/b", "target": "/x/"}]}, "mounts", "same target twice"),
        ({"mounts": [{"source": "/a", "target": "//"}]}, "mounts[0].target", "below /"),
        ({"mounts": {"source": "/a"}}, "mounts", "must be a list"),
        ({"mounts": [{"source": "/a", "target": "/x", "read_only": "yes"}]}, "mounts[0].read_only", "true or false"),
        ({"model_access": "rx"}, "model_access", "one of ro, rw"),
        ({"egress": "no"}, "egress", "true or false"),
        ({"resources": {"gpu": 1.5}}, "resources.gpu", "whole number"),
        ({"resources": {"gpu": 0.255}}, "resources.gpu", "never rounded"),
        ({"resources": {"gpu": "two"}}, "resources.gpu", "gpu is a number"),
        ({"resources": {"cpu": "500m"}}, "resources.cpu", "write 0.5 instead of 500m"),
        ({"resources": {"memory": "4g"}}, "resources.memory", "'g' is ambiguous"),
        ({"resources": {"memory": 16}}, "resources.memory", "as in 16GiB"),
        ({"resources": {"gpu": 0, "gpu_memory": "1GiB"}}, "resources", "leave one of them out"),
        ({"resources": 4}, "resources", "must be a block of fields"),
        ({"cluster_size": 2}, "cluster_size", "several containers"),
        ({"cluster_size": True}, "cluster_size", "several containers"),
        ({"placement": {"spread": "always"}}, "placement.spread", "one of prefer, require, none"),
        ({"replicas": -1}, "replicas", "0 to 1000"),
        ({"replicas": "3"}, "replicas", "not text"),
        ({"replicas": True}, "replicas", "not true or false"),
        ({"replicas": 1.5}, "replicas", "whole number"),
        ({"replicas": 10**9}, "replicas", "0 to 1000"),
        ({"replicas": {}}, "replicas", "{min: 0, max: 8}"),
        ({"replicas": {"min": 3, "max": 2}}, "replicas.min", "more than max"),
        ({"replicas": {"min": 0, "max": 0}}, "replicas.max", "write replicas: 0"),
        ({"replicas": {"min": 0, "mx": 2}}, "replicas.mx", "did you mean"),
        ({"replicas": {"min": 0, "max": 2, "fixed": True}}, "replicas.fixed", "is no field"),
        ({"priority": 101}, "priority", "0 to 100"),
        ({"priority": 1.0}, "priority", "whole number"),
        ({"autoscaling": {"idle_seconds": 60}}, "autoscaling", "only with replicas: {min, max}"),
        ({"replicas": 3, "autoscaling": {"enabled": False}}, "autoscaling", "only with replicas"),
        ({"replicas": RANGE, "autoscaling": {"keep_warm": 9}}, "autoscaling.keep_warm", "more than replicas.max"),
        ({"replicas": RANGE, "autoscaling": {"idle_seconds": "soon"}}, "autoscaling.idle_seconds", "no duration"),
        ({"replicas": RANGE, "autoscaling": {"target_concurrency": 0}}, "autoscaling.target_concurrency", "from 1"),
        ({"replicas": RANGE, "autoscaling": {"rules": [{"metric": "gpu_util"}]}}, "autoscaling.rules[0]", "{metric, target}"),
        (
            {"replicas": RANGE, "autoscaling": {"rules": [{"metric": "gpu_util", "target": 1, "cron": "* * * * *"}]}},
            "autoscaling.rules[0]",
            "or {cron",
        ),
        ({"replicas": RANGE, "autoscaling": {"rules": [{"metric": "gpu_util", "target": -1}]}}, "autoscaling.rules[0].target", "above 0"),
        ({"replicas": RANGE, "autoscaling": {"jobs_wake": "later"}}, "autoscaling.jobs_wake", "must be now"),
        ({"replicas": RANGE, "autoscaling": {"jobs_wake": {"waiting": 1, "cron": "* * * * *"}}}, "autoscaling.jobs_wake", "one of them"),
        ({"open_to_public": "yes"}, "open_to_public", "without quotes"),
        ({"health_check": {"path": "health"}}, "health_check.path", "begins with /"),
        ({"health_check": {"interval": 0}}, "health_check.interval", "0.1 seconds to 3600"),
        ({"health_check": {"expected_status_code": 99}}, "health_check.expected_status_code", "100 to 599"),
        ({"health_check": {"max_retries": "10"}}, "health_check.max_retries", "not text"),
        ({"health_check": {"start_timeout": "1e9"}}, "health_check.start_timeout", "no duration"),
        ({"health_check": True}, "health_check", "not true or false"),
        ({"routing": {"policy": "best"}}, "routing.policy", "least_outstanding, round_robin"),
        ({"routing": {"max_body": "1"}}, "routing.max_body", "1KiB"),
        ({"routing": {"retries": 11}}, "routing.retries", "0 to 10"),
        ({"routing": {"cors_origins": ["example.org"]}}, "routing.cors_origins[0]", "origin"),
        ({"routing": {"allow_paths": ["metrics"]}}, "routing.allow_paths[0]", "begins with /"),
        ({"routing": {"timeout": 0}}, "routing.timeout", "from 0.05 seconds to a year"),
        ({"rollout": {"max_surge": 0}}, "rollout", "nothing could ever be replaced"),
        ({"rollout": {"if_no_room": "panic"}}, "rollout.if_no_room", "one of wait, replace"),
        ({"labels": {"a b": "c"}}, "labels.a b", "label's name"),
        ({"labels": {"a": 5}}, "labels.a", "quote it"),
        ({"labels": {str(n): "x" for n in range(65)}}, "labels", "more than 64"),
        ({"kind": "project"}, "kind", "one of service"),
    ],
)
def test_refused(fields: dict[str, Any], param: str, words: str) -> None:
    error = refusal(**fields)
    assert error.param == param
    assert words in error.message
    assert error.message.startswith(param)


@pytest.mark.parametrize("field", ["name", "model"])
def test_name_and_model_are_needed(field: str) -> None:
    error = refusal(**{field: None})
    assert (error.message, error.param) == (f"{field} is missing", field)


@pytest.mark.parametrize("cron", ["0 8 * * mon-fri", "*/15 * * * *", "0 0 1,15 jan-mar 0", "5-10/2 0-6 * * sun"])
def test_cron_lines(cron: str) -> None:
    rules = [{"cron": f"  {cron.upper()} ", "duration": "1h", "min": 1, "timezone": "UTC"}]
    assert spec(replicas=RANGE, autoscaling={"rules": rules}).autoscaling.rules[0].cron == cron


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *", "*/0 * * * *", "a * * * *"]
)
def test_wrong_cron_lines_are_refused(cron: str) -> None:
    rules = [{"cron": cron, "duration": "1h", "min": 1}]
    assert refusal(replicas=RANGE, autoscaling={"rules": rules}).param == "autoscaling.rules[0].cron"


def test_an_unknown_time_zone_is_refused() -> None:
    rules = [{"cron": "* * * * *", "duration": "1h", "min": 1, "timezone": "Mars/Olympus"}]
    assert refusal(replicas=RANGE, autoscaling={"rules": rules}).param == "autoscaling.rules[0].timezone"


def test_a_value_of_env_is_never_repeated() -> None:
    assert "hunter2" not in refusal(env={"PASSWORD": ["hunter2"]}).message
    assert "hunter2" not in refusal(env={"PASSWORD": "hunter2\0"}).message


def test_a_misspelt_field_is_named_before_what_it_made_missing() -> None:
    with pytest.raises(InvalidSpec, match="did you mean model"):
        ServiceSpec.from_json({"name": "x", "modle": "demo"})


@pytest.mark.parametrize("data", [None, [], "x", 5, {1: 2}, {"name": {}}])
def test_what_is_no_document_is_refused(data: object) -> None:
    with pytest.raises(InvalidSpec):
        ServiceSpec.from_json(data)


# ── other kinds ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "param", "words"),
    [
        ("kind: pipeline\nname: x\n", "kind", "service, project, resource_group, preset"),
        ("kind: [service]\nname: x\n", "kind", "service, project"),
        ("kind: project\nname: x\nquota: {gpu: -1}\n", "quota.gpu", "between 0"),
        ("kind: project\nname: x\nquota: {gpu_memory: 1GiB}\n", "quota.gpu_memory", "is no field"),
        ("kind: project\nname: x\nweight: 0\n", "weight", "above 0"),
        ("kind: resource_group\nname: x\norder: random\n", "order", "fifo, lifo, drf, fair_share"),
        ("kind: preset\nname: x\n", "resources", "is missing"),
        ("kind: preset\nname: x\nresources: {gpu: 1.5}\n", "resources.gpu", "whole number"),
    ],
)
def test_other_kinds_are_checked_too(text: str, param: str, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_documents(text)
    assert caught.value.param == param and words in caught.value.message


def test_a_quota_may_be_any_amount_of_gpus() -> None:
    [document] = parse_documents("kind: project\nname: nlp\nquota: {gpu: 16.5, cpu: 5000, memory: 1TiB, sessions: 40}\n")
    assert isinstance(document.spec, ProjectSpec)
    assert (document.spec.quota.gpu, document.spec.quota.cpu, document.spec.quota.memory) == (1650, 5_000_000, 2**40)
    assert document.spec.to_json()["quota"] == {"gpu": 16.5, "cpu": 5000, "memory": "1TiB", "sessions": 40}
