"""Explain says what the scheduler would do, in the contract's shape."""

from __future__ import annotations

from typing import Any

import msgspec

from model_variants.explain import explain
from model_variants.registry import load_variants
from stoker.records import Assignment, DeviceShare, Engine, NodeRecord, SessionRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus as S
from tests.support.drawn import GIB, NOW, RESOLUTION, node, session


def asked(
    spec: dict[str, Any], *nodes: NodeRecord, sessions: tuple[SessionRecord, ...] = (), old: dict[str, Any] | None = None
) -> dict[str, Any]:
    before = ServiceSpec.from_json({"name": "s", "model": "demo", **old}) if old is not None else None
    made = ServiceSpec.from_json({"name": "s", "model": "demo", **spec})
    by_name = {one.name: one for one in nodes}
    return explain(made, by_name, sessions, dict.fromkeys(by_name, NOW), NOW, load_variants(), old=before)


def test_what_fits_has_a_place_a_command_and_an_environment() -> None:
    found = asked({"env": {"A": "1"}, "resources": {"gpu": 0.5}}, node(gpus=1))
    assert found["fits"] is True and found["reason"] is None
    assert found["placement"] == [
        {"node": "n1", "gpus": [{"device": "n1-g0", "share": 0.5, "memory": 40 * GIB}], "score": found["placement"][0]["score"]}
    ]
    assert found["resolved"]["variant"] == "demo" and found["resolved"]["gpu"] == 0.5
    assert "{port}" in found["argv"] and found["env"]["A"] == "1"
    assert found["env"]["BACKEND_MODEL_PATH"] == "{work_dir}/models", "it has no files, and the node says where its own folder is"
    assert set(found) >= {"fits", "resolved", "argv", "env", "memory", "placement", "refused", "evicts", "nearest", "diff"}


def test_what_does_not_fit_says_who_refused_and_what_would() -> None:
    busy = session("x-1", S.READY, on="n1", gpus=(DeviceShare("n1-g0", 100, 80 * GIB),))
    found = asked({"resources": {"gpu": 2}}, node(gpus=2), node("n2", cordoned=True, gpus=8), sessions=(busy,))
    assert found["fits"] is False and found["reason"]["message"] == "2 nodes: 1 is cordoned, 1 lacks 2 free GPUs of one model"
    assert {refusal["node"]: refusal["message"] for refusal in found["refused"]}["n2"] == "n2 is cordoned"
    assert {"change": "resources.gpu: 1", "sentence": "with gpu 1 it would fit on n1"} in found["nearest"]


def test_some_of_the_replicas() -> None:
    found = asked({"replicas": 3, "resources": {"gpu": 1}}, node(gpus=2))
    assert found["fits"] is False and len(found["placement"]) == 2
    assert found["nearest"][0]["change"] == "replicas: 2"


def test_nobody_is_refused_by_the_node_that_takes_it() -> None:
    """One node with two cores: what a second replica or a surge would get is not what this verdict is about."""
    tight = node(cpu=2000)
    found = asked({"resources": {"cpu": 2}}, tight)
    assert found["fits"] is True and [place["node"] for place in found["placement"]] == ["n1"] and found["refused"] == []
    all_of_it = Assignment(revision=1, resolution=msgspec.structs.replace(RESOLUTION, cpu=2000), spec={})
    mine = session("s-1", S.READY, on="n1", assignment=all_of_it)
    spec = {"resources": {"cpu": 2}}
    for changed in (spec, {**spec, "env": {"A": "1"}}):
        found = asked(changed, tight, sessions=(mine,), old=spec)
        assert found["fits"] is True and found["refused"] == [], changed
    other = node("n2", cordoned=True)
    assert asked(spec, tight, other)["refused"] == [{"node": "n2", "code": "no_fit", "message": "n2 is cordoned"}]


def test_how_many_fit_is_one_sentence() -> None:
    found = asked({"replicas": 3, "resources": {"cpu": 2}}, node(cpu=2000))
    assert found["fits"] is False and len(found["placement"]) == 1
    assert found["reason"]["message"] == "1 of 3 replicas fits now, the next does not: n1 lacks 2 free CPU cores"
    assert [no["message"] for no in found["refused"]] == ["n1 lacks 2 free CPU cores"]


def test_secrets_are_named_and_missing() -> None:
    found = asked({"env": {"TOKEN": {"secret": "hub"}, "A": "1"}}, node(), node("n2", cordoned=True))
    assert found["fits"] is False and found["reason"]["code"] == "secret_missing" and "env: {TOKEN: VALUE}" in found["reason"]["message"]
    assert [(no["node"], no["code"]) for no in found["refused"]] == [("n2", "no_fit"), ("n1", "secret_missing")]
    assert found["placement"] == [] and found["nearest"] == [] and found["env"]["TOKEN"] == "secret:hub"


def test_smaller_amounts_are_proposed_only_where_they_fit() -> None:
    found = asked({"resources": {"cpu": 20, "memory": "4GiB"}}, node())
    assert found["nearest"] == [{"change": "resources.cpu: 16", "sentence": "with cpu 16 it would fit on n1"}]
    assert asked({"resources": {"cpu": 20, "memory": "400GiB"}}, node())["nearest"] == []


LLAMA = {
    "kind": "hf", "path": "/m", "digest": "d", "architecture": "LlamaForCausalLM", "weight_bytes": 16_060_522_496, "dtype": "bfloat16",
    "context_length": 131_072, "layers": 32, "heads": 32, "kv_heads": 8, "head_dim": 128,
}  # fmt: skip
VLLM = Engine(name="vllm", version="0.33.0", prefix="/engines/vllm")


def test_a_model_that_is_too_large_gets_the_number_of_gpus_or_the_context_that_would_do() -> None:
    """128k tokens are 16 GiB of cache beside 15 GiB of weights: (15.0 + 16 + 2) / 0.92 GiB on one GPU."""

    def near(spec: dict[str, Any], *nodes: NodeRecord) -> list[str]:
        found = asked({"model": "/m", **spec}, *nodes)
        assert found["fits"] is False and found["reason"]
        return [one["sentence"] for one in found["nearest"]]

    def small(name: str, gpus: int) -> NodeRecord:
        return node(name, gpus=gpus, gpu_memory=24 * GIB, engines=(VLLM,), facts={"/m": LLAMA})

    less = "with a context of 40k tokens instead of 128k it would fit on n1"
    assert near({"resources": {"gpu": 1}}, small("n1", 4)) == ["with 2 GPUs instead of 1 it would fit on n1", less]
    assert near({}, small("n1", 1)) == [less], "no number was named, and there is only one"
    assert near({"options": {"max_model_len": 131_072}}, small("n1", 1)) == [less]
    fits = asked({"model": "/m", "options": {"max_model_len": 40 * 1024}}, small("n1", 1))
    assert fits["fits"] is True and not fits["nearest"], "what is proposed does fit"
    more = asked({"model": "/m", "options": {"max_model_len": 41 * 1024}}, small("n1", 1))
    assert more["fits"] is False, "and it is the most that does"
    for memory in range(19, 36, 3):
        place = node("n1", gpus=1, gpu_memory=memory * GIB, engines=(VLLM,), facts={"/m": LLAMA})
        proposed = int(asked({"model": "/m"}, place)["nearest"][0]["change"].removeprefix("options.max_model_len: "))
        fitting = [asked({"model": "/m", "options": {"max_model_len": proposed + more}}, place)["fits"] for more in (0, 1024)]
        assert fitting == [True, False], f"{proposed} of {memory} GiB is the most that fits"
    assert near({"resources": {"gpu": 8}}, small("n1", 4)) == ["with 2 GPUs instead of 8 it would fit on n1"], "4 of them go with 17 cores"


def test_a_change_may_use_the_room_of_what_it_replaces_where_that_goes_first() -> None:
    mine = session("s-1", S.READY, on="n1", gpus=(DeviceShare("n1-g0", 100, 80 * GIB),))
    old, new = {"resources": {"gpu": 1}}, {"resources": {"gpu": 1}, "env": {"A": "1"}}
    assert asked(new, node(gpus=1), sessions=(mine,), old=old)["fits"] is True, "one node: replace"
    waits = asked(new, node(gpus=1), node("n2"), sessions=(mine,), old=old)
    assert waits["fits"] is False and any(line.startswith("env.A:") for line in waits["diff"])
    assert waits["placement"] == [] and "does not fit beside those that it replaces" in waits["reason"]["message"]
    assert asked({**new, "rollout": {"if_no_room": "replace"}}, node(gpus=1), node("n2"), sessions=(mine,), old=old)["fits"] is True


def test_what_runs_already_needs_no_second_place() -> None:
    mine = session("s-1", S.READY, on="n1", gpus=(DeviceShare("n1-g0", 100, 80 * GIB),))
    spec = {"resources": {"gpu": 1}}
    assert asked(spec, node(gpus=1), sessions=(mine,), old=spec)["fits"] is True
    assert asked({**spec, "replicas": 2}, node(gpus=1), sessions=(mine,), old=spec)["fits"] is False


def test_unknown_is_not_no() -> None:
    found = asked({"model": "/m"}, node())
    assert found["fits"] is None and found["reason"]["code"] == "model_missing"
    assert asked({"model": "/m"}, node(facts={"/m": {"missing": "no folder"}}))["fits"] is False
    assert asked({})["reason"]["code"] == "node_silent"
    assert asked({"variant": "demo", "model": "/m"}, node(facts={"/m": {"kind": "gguf"}}))["reason"]["code"] == "model_unsupported"
