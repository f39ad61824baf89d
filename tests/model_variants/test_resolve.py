"""What a service starts: the variant, the runtime, names, sizes, health; and what is said where it cannot."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_variants.base import Unsuitable
from model_variants.demo import Demo
from model_variants.facts import BUILTIN
from model_variants.registry import load_variants, malformed
from model_variants.resolve import check, resolve
from model_variants.runtime_choice import version_key
from stoker.errors import ConfigurationError, InvalidSpec
from tests.support.launches import GIB, LLAMA_8B, LORA, TEXT, UNKNOWN, launch, site, spec, words

VARIANTS = load_variants([])


def refused(code: str, sentence: str, *arguments: Any) -> None:
    with pytest.raises(Unsuitable, match=sentence) as found:
        resolve(*arguments, VARIANTS)
    assert found.value.reason.code == code


def test_the_demo_needs_nothing() -> None:
    found = resolve(spec(model="demo"), BUILTIN, site(), VARIANTS)
    assert (found.variant, found.runtime, found.engine, found.image, found.port) == ("demo", "process", None, None, None)
    assert (found.cpu, found.memory, found.gpus) == (100, 256 * 2**20, 0)
    assert found.takes_key and found.model_names == ("my-service",) and found.model_path is None
    assert found.why.startswith("the built-in text: demo")


def test_a_folder_of_text_is_learnt_from() -> None:
    given = spec(options={"ttft": "50ms"})
    found = resolve(given, TEXT, site(), VARIANTS)
    command = words(VARIANTS["demo"], given, found)
    assert command[1:3] == ["-m", "model_variants.demo_engine"]
    assert command[command.index("--text") + 1] == "/data/text" and command[command.index("--ttft") + 1] == "0.05"
    assert "sk-session-secret" not in command
    assert VARIANTS["demo"].launch(launch(given, found)).env == {"DEMO_API_KEY": "sk-session-secret"}


def test_the_demos_flags_are_understood_by_its_engine() -> None:
    from model_variants.demo_engine.settings import parse

    options: dict[str, object] = {
        "context_length": 512, "start_delay": 1, "load_delay": "2s", "ttft": 0.5, "tpot": 0.01, "jitter": 0.5, "max_concurrency": 3,
        "queue_limit": 4, "fail_start": 7, "fail_rate": 0.25, "crash_after_requests": 9,
        "hang": True, "abort_stream_after": 5, "oom": "1MiB",
    }  # fmt: skip
    given = spec(model="demo", options=options)
    settings = parse(words(VARIANTS["demo"], given, resolve(given, BUILTIN, site(), VARIANTS))[3:])
    expected = {**options, "load_delay": 2.0, "oom": 2**20}
    assert {name: getattr(settings, name) for name in expected} == expected
    assert set(Demo.options.model_fields) == {*expected, "text"}


def test_transformers_serves_a_text_model_on_a_cpu() -> None:
    given = spec()
    found = resolve(given, LLAMA_8B, site("transformers==5.2.0", "transformers==5.23.0"), VARIANTS)
    assert (found.variant, found.runtime, found.engine) == ("transformers", "process", "transformers==5.23.0")
    assert found.upstream_model == found.model_path == "/data/llama" and not found.takes_key
    assert (found.gpus, found.cpu, found.memory) == (0, 1000, 2 * GIB + LLAMA_8B.weight_bytes)
    command = words(VARIANTS["transformers"], given, found)
    assert command[:3] == ["/engines/transformers/bin/transformers", "serve", "/data/llama"]
    assert command[3:] == ["--host", "127.0.0.1", "--port", "23456", "--device", "cpu"]
    plan = VARIANTS["transformers"].launch(launch(given, found))
    assert plan.first_answer and b'"/data/llama"' in plan.first_answer.body


def test_transformers_on_a_gpu() -> None:
    found = resolve(spec(), LLAMA_8B, site("transformers==5.23.0", gpus=2), VARIANTS)
    assert (found.gpus, found.gpu_share, found.cpu) == (1, 100, 5000)
    assert found.gpu_memory == sum(size for _, size in found.memory_terms) > LLAMA_8B.weight_bytes
    assert words(VARIANTS["transformers"], spec(), found)[-2:] == ["--device", "auto"]


@pytest.mark.parametrize("path", ["/data/a@b", "/data/a@b/c"])
def test_transformers_cannot_read_a_path_with_an_at(path: str) -> None:
    import msgspec

    refused("model_unsupported", "@", spec(), msgspec.structs.replace(LLAMA_8B, path=path), site("transformers==5.23.0"))


def test_a_missing_engine_says_what_to_install() -> None:
    install = r"pip install 'transformers\[serving\]' torch.*STOKER_ENGINE_PATH"
    refused("engine_missing", install, spec(variant="transformers"), LLAMA_8B, site())
    refused("engine_missing", r"installed are 5\.2", spec(engine="transformers==9"), LLAMA_8B, site("transformers==5.2"))
    refused("engine_missing", "no default image", spec(variant="transformers", runtime="docker"), LLAMA_8B, site(docker=True))
    refused("engine_missing", "no node offers docker", spec(variant="command", image="a/b:1"), LLAMA_8B, site())
    refused("engine_missing", "does not run the engine", spec(variant="demo", engine="vllm", model="demo"), BUILTIN, site())


def test_what_does_not_fit_together() -> None:
    refused("model_unsupported", "LoRA adapter", spec(), LORA, site())
    refused("model_unsupported", r"what\.exe", spec(), UNKNOWN, site())
    refused("model_unsupported", "plain text", spec(variant="demo"), LLAMA_8B, site())
    refused("model_unsupported", "there is no variant", spec(variant="nonsense"), LLAMA_8B, site())
    refused(
        "model_unsupported",
        "option tft: there is no such option; there are: text,",
        spec(model="demo", options={"tft": 1}),
        BUILTIN,
        site(),
    )
    refused("model_unsupported", "needs a `command:`", spec(variant="command"), LLAMA_8B, site())
    refused("model_unsupported", "cannot begin with -", spec(model="demo", model_name=["-x"]), BUILTIN, site())
    gpu = {"resources": {"gpu": 2}}
    refused("model_unsupported", "one GPU per session", spec(**gpu), LLAMA_8B, site("transformers==5.23.0", gpus=2))


def test_check_before_any_file_is_seen() -> None:
    check(spec(), VARIANTS)
    check(spec(variant="demo", options={"ttft": 1}), VARIANTS)
    for fields, param in (({"variant": "nonsense"}, "variant"), ({"variant": "demo", "options": {"ttft": "soon"}}, "options.ttft")):
        with pytest.raises(InvalidSpec) as found:
            check(spec(**fields), VARIANTS)
        assert found.value.param == param


def test_a_command_of_the_specs_own() -> None:
    given = spec(
        command=["python", "serve.py", "--port={port}", "{host}", "{model_path}", "{model_name}", '{"a": {b}}'], args=["{port}", "x y"]
    )
    found = resolve(given, UNKNOWN, site(), VARIANTS)
    assert (found.variant, found.runtime, found.takes_key) == ("command", "process", False)
    assert not found.health.enable and found.health.path is None
    command = words(VARIANTS["command"], given, found)
    assert command == ["python", "serve.py", "--port=23456", "127.0.0.1", "/data/what", "my-service", '{"a": {b}}', "{port}", "x y"]


def test_an_image_runs_its_own_command() -> None:
    given = spec(image="registry:5000/me/app:1")
    found = resolve(given, UNKNOWN, site(docker=True), VARIANTS)
    assert (found.variant, found.runtime, found.image, found.port) == ("command", "docker", "registry:5000/me/app:1", 8000)
    assert words(VARIANTS["command"], given, found) == []
    assert resolve(spec(image="a/b", port=99), UNKNOWN, site(docker=True), VARIANTS).port == 99


def test_names_that_clients_may_send() -> None:
    def names(**fields: Any) -> tuple[str, ...]:
        return resolve(spec(model="demo", **fields), BUILTIN, site(), VARIANTS).model_names

    assert names() == ("my-service",)
    assert names(model_name=["a", "b"]) == ("a", "b", "my-service")
    assert names(env={"BACKEND_MODEL_NAME": "c"}) == ("c", "my-service")
    assert names(model_name=["my-service"], env={"BACKEND_MODEL_NAME": "c"}) == ("my-service",)
    assert names(env={"BACKEND_MODEL_NAME": {"secret": "s"}}) == ("my-service",)


def test_health_checks_are_merged_field_by_field() -> None:
    def health(**fields: Any) -> Any:
        return resolve(spec(model="demo", health_check=fields), BUILTIN, site(), VARIANTS).health

    assert (health().path, health().interval, health().start_timeout, health().replace_after) == ("/health", 10, 120, 300)
    assert health(interval=3).interval == 3 and health(path="/x").path == "/x"
    assert health(replace_after=None).replace_after is None
    assert health(enable=False).enable is False
    command = resolve(spec(command=["x"], health_check={"path": "/ok"}), UNKNOWN, site(), VARIANTS).health
    assert command.enable and command.path == "/ok"
    assert resolve(spec(command=["x"], health_check={"enable": True}), UNKNOWN, site(), VARIANTS).health.path == "/health"


def test_sizes_that_were_asked_for_are_given() -> None:
    def sizes(**resources: Any) -> Any:
        return resolve(spec(model="demo", resources=resources), BUILTIN, site(gpus=8), VARIANTS)

    assert sizes(cpu=2, memory="1GiB").cpu == 2000 and sizes(memory="1GiB").memory == GIB
    assert (sizes(gpu=0.25).gpus, sizes(gpu=0.25).gpu_share) == (1, 25)
    assert (sizes(gpu=3).gpus, sizes(gpu=3).gpu_share) == (3, 100)
    assert sizes(gpu=0).gpus == 0
    shared = sizes(gpu_memory="10GiB")
    assert (shared.gpus, shared.gpu_share, shared.gpu_share_of_memory) == (1, 0, 10 * GIB)
    filtered = sizes(gpu=1, gpu_memory="10GiB")
    assert (filtered.gpus, filtered.gpu_share, filtered.gpu_memory, filtered.gpu_share_of_memory) == (1, 100, 10 * GIB, 0)


def test_max_concurrency_is_the_specs_or_the_engines() -> None:
    assert resolve(spec(model="demo"), BUILTIN, site(), VARIANTS).max_concurrency == 256
    assert resolve(spec(model="demo", options={"max_concurrency": 3}), BUILTIN, site(), VARIANTS).max_concurrency == 3
    assert resolve(spec(model="demo", routing={"max_concurrency": 9}), BUILTIN, site(), VARIANTS).max_concurrency == 9


def test_versions_are_compared_as_numbers() -> None:
    ordered = ["0.9.0rc1", "0.9.0", "0.9.1", "0.10.2", "1.0", "5.23.0"]
    assert sorted(reversed(ordered), key=version_key) == ordered


@given(st.lists(st.text(max_size=12), max_size=3))
def test_any_version_can_be_sorted(versions: list[str]) -> None:
    assert len(sorted(versions, key=version_key)) == len(versions)


def test_third_parties_variants_come_by_entry_point() -> None:
    class Mine(Demo):
        name = "mine"

    assert malformed(Mine()) is None
    point = EntryPoint("mine", "tests.model_variants.third_party:Mine", "stoker.model_variants")
    assert load_variants([point])["mine"].title == "A third party's"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("tests.model_variants.third_party:Duplicate", "two variants are named cmd"),
        ("tests.model_variants.third_party:Nameless", "name must be"),
        ("tests.model_variants.third_party:Optionless", "options must be"),
        ("tests.model_variants.third_party:Mute", "launch must be"),
        ("tests.model_variants.third_party:Broken", "cannot be loaded: broken on purpose"),
        ("tests.model_variants.nothing:There", "cannot be loaded"),
    ],
)
def test_a_broken_plugin_stops_the_start_with_its_name(value: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as found:
        load_variants([EntryPoint("it", value, "stoker.model_variants")])
    assert value in str(found.value)
