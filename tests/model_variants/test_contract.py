"""What holds for every registered variant, whatever it starts; and for the third party's of examples/ as well."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

import pytest

from model_variants.base import Site, Unsuitable, Variant
from model_variants.facts import ModelFacts
from model_variants.registry import GROUP, load_variants, malformed
from model_variants.resolve import resolve
from stoker.records import Reason, Resolution
from stoker.specs import ServiceSpec
from tests.support.launches import ALL_FACTS, launch, site, spec

EXAMPLE = EntryPoint("echo", "stoker_echo.variant:Echo", GROUP)
VARIANTS = load_variants([EXAMPLE, *(point for point in entry_points(group=GROUP) if point.name != EXAMPLE.name)])
NAMES = sorted(VARIANTS)
CODES = {"no_fit", "engine_missing", "model_unsupported", "definition_failed"}


def everything(variant: Variant, *, docker: bool) -> list[tuple[ServiceSpec, ModelFacts, Resolution]]:
    """This variant with every kind of model it accepts, on a site where everything is installed."""
    found = []
    engine = f"{variant.engine}==9.9.9" if variant.engine and not docker else "other==1"
    fields = _fields(variant, docker)
    for facts in ALL_FACTS:
        if fields is not None and variant.accepts(facts) is None:
            given = spec(variant=variant.name, model_name=["first", "second"], args=["--extra", "a b"], **fields)
            found.append((given, facts, resolve(given, facts, site(engine, docker=docker, gpus=8), VARIANTS)))
    return found


def _fields(variant: Variant, docker: bool) -> dict[str, object] | None:
    """What a spec must say for this variant in a container or a process; None where it cannot run so."""
    match variant.name, docker:
        case "command", False:
            return {"command": ["serve", "{port}"]}
        case "command" | "custom", True:
            return {"image": "a/b"}
        case "nim", _:
            return {"image": "nvcr.io/nim/meta/x:1", "env": {"NGC_API_KEY": {"secret": "ngc"}}} if docker else None
        case _, True:
            return {"runtime": "docker"} if variant.image else None
        case _:
            return {}


def cases() -> Iterator[tuple[Variant, ServiceSpec, ModelFacts, Resolution]]:
    for name in NAMES:
        for docker in (False, True):
            for given, facts, resolution in everything(VARIANTS[name], docker=docker):
                yield VARIANTS[name], given, facts, resolution


CASES = list(cases())
IDS = [f"{variant.name}-{facts.kind}-{resolution.runtime}" for variant, _, facts, resolution in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_whole_and_serves_something(name: str) -> None:
    variant = VARIANTS[name]
    assert malformed(variant) is None and variant.name == name
    assert any(variant is case[0] for case in CASES), "no kind of model is accepted, or nowhere to run"
    for option, field in variant.options.model_fields.items():
        assert not option.startswith("_") and (field.description), f"option {option} says nothing about itself"


@pytest.mark.parametrize("name", NAMES)
def test_refusals_are_sentences_with_a_code(name: str) -> None:
    for facts in ALL_FACTS:
        refusal = VARIANTS[name].accepts(facts)
        assert refusal is None or len(refusal.split()) > 3
        for place in (site(), site(gpus=1, memory=2**30), site(docker=True)):
            reason = _reason(spec(variant=name), facts, place)
            assert reason is None or (reason.code in CODES and len(reason.message.split()) > 4)


def _reason(given: ServiceSpec, facts: ModelFacts, place: Site) -> Reason | None:
    """Why it is refused; None where it is not. Anything but Unsuitable is a failure."""
    try:
        resolve(given, facts, place, VARIANTS)
    except Unsuitable as error:
        return error.reason
    return None


@pytest.mark.parametrize(("variant", "given", "facts", "resolution"), CASES, ids=IDS)
def test_the_launch_plan_is_sane(variant: Variant, given: ServiceSpec, facts: ModelFacts, resolution: Resolution) -> None:
    start = launch(given, resolution)
    plan = variant.launch(start)
    assert all(type(word) is str and "\0" not in word for word in plan.argv)
    assert plan.argv or resolution.runtime == "docker"
    assert all(type(name) is str and type(value) is str for name, value in plan.env.items())
    assert "sk-session-secret" not in " ".join(plan.argv), "the key must not be in argv"
    assert plan.argv[-2:] == ("--extra", "a b") or not plan.argv, "args are appended, unsplit"
    assert 0 < plan.stop_grace <= 600 and plan.stop_signals and all(s in signal.Signals for s in plan.stop_signals)
    assert plan.health == resolution.health
    assert plan.health.path is None or plan.health.path.startswith("/")
    assert plan.metrics_path is None or plan.metrics_path.startswith("/")
    assert all(path.startswith("/") for path in resolution.refused_paths)
    if resolution.takes_key:
        assert "sk-session-secret" in plan.env.values(), "a key that the router sends must reach the engine"


@pytest.mark.parametrize(("variant", "given", "facts", "resolution"), CASES, ids=IDS)
def test_the_port_is_honoured(variant: Variant, given: ServiceSpec, facts: ModelFacts, resolution: Resolution) -> None:
    plans = [variant.launch(launch(given, resolution, port=port)) for port in (23456, 23457)]
    if variant.name == "command" and not given.command:
        return  # the image's own command; the worker sets PORT for it
    if variant.name == "custom":
        assert resolution.port == 8000, "a definition that writes its port gets that port"
        return
    shown = [" ".join((*plan.argv, *plan.env.values())) for plan in plans]
    assert "23456" in shown[0] and shown[1] == shown[0].replace("23456", "23457")


@pytest.mark.parametrize(("variant", "given", "facts", "resolution"), CASES, ids=IDS)
def test_the_resolution_is_whole(variant: Variant, given: ServiceSpec, facts: ModelFacts, resolution: Resolution) -> None:
    assert resolution.variant == variant.name and resolution.why
    assert resolution.model_names == ("first", "second", "my-service")
    assert resolution.model_path == facts.path and resolution.facts_digest == facts.digest
    assert resolution.cpu > 0 and resolution.memory > 0 and resolution.max_concurrency > 0
    assert (resolution.gpus == 0) == (resolution.gpu_share == 0 and resolution.gpu_share_of_memory == 0)
    assert not variant.needs_gpu or resolution.gpus
    assert (resolution.runtime == "docker") == bool(resolution.image)
    assert resolution.port is None or resolution.runtime == "docker" or variant.name == "custom"
