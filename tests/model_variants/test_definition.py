"""model-definition.yaml: its schema to the letter, its pre-start actions, and a served app."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_variants.base import Unsuitable
from model_variants.definition.rendering import Plan, as_script, render, words
from model_variants.definition.schema import health_of, read_definition
from model_variants.reading import read_facts
from model_variants.registry import load_variants
from model_variants.resolve import resolve
from tests.support.engines import free_port, started
from tests.support.launches import launch, site, spec

GPT_NEOX = """\
models:
  - name: "GPT-NeoX"
    model-path: "/models/triton-deploy"
    service:
      start-command:
        - tritonserver
        - --model-repository=/models/triton-deploy
        - --http-port=8000
      port: 8000
      health-check:
        path: /v2/health/ready
        max-retries: 3
        max-wait-time: 5
        expected-status-code: 200
"""


def definition(**service: Any) -> str:
    return json.dumps({"models": [{"name": "m", "model_path": "/models", "service": {"port": 8000, "start_command": ["x"], **service}}]})


def test_the_documents_triton_definition() -> None:
    model = read_definition(GPT_NEOX)
    assert model.service and words(model.service)[0] == "tritonserver" and model.model_path == "/models/triton-deploy"
    health = health_of(model.service)
    assert (health.path, health.max_retries, health.max_wait_time, health.expected_status_code) == ("/v2/health/ready", 3, 5, 200)
    plan = render(model, port=1234, host="127.0.0.1", folder="/data/x")
    assert plan.argv[1] == "--model-repository=/data/x/triton-deploy" and plan.cwd == "/data/x/triton-deploy"


def test_a_missing_health_block_means_none() -> None:
    for block in ({}, {"health_check": None}, {"health_check": {"enable": False}}):
        service = read_definition(definition(**block)).service
        assert service and health_of(service).enable is False
    service = read_definition(definition(health_check={"path": "/x", "initial_delay": 90})).service
    assert service and health_of(service).start_timeout == 90


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "models"),
        ("models: []", "models"),
        ("models: [{name: a}, {name: b}]", "service|2 models"),
        (json.dumps({"models": [{"name": n, "service": {"port": 9}} for n in "ab"]}), "2 models \\(a, b\\): one per folder"),
        (definition(port=0), "port"),
        (definition(port="x"), "port"),
        (definition(pre_start_actions=[{"action": "explode"}]), "there is no action 'explode'"),
        (definition(health_check={"path": "health"}), "path"),
        ("models: [{name: m}]", "no `service`"),
        ("a: &x [1]\nb: *x", "model-definition.yaml"),
        ("{", "not valid YAML"),
    ],
)
def test_wrong_definitions_are_refused_with_the_field(text: str, sentence: str) -> None:
    with pytest.raises(Unsuitable, match=sentence) as refused:
        read_definition(text)
    assert refused.value.reason.code == "definition_failed"


def test_text_asks_for_a_shell_and_a_list_does_not() -> None:
    def argv(**fields: Any) -> tuple[str, ...]:
        service = read_definition(definition(**fields)).service
        assert service
        return words(service)

    assert argv(start_command="a 'b c' | d") == ("/bin/bash", "-c", "a 'b c' | d")
    assert argv(start_command="a 'b c'", shell=None) == ("a", "b c")
    assert argv(start_command="a", shell="/bin/sh") == ("/bin/sh", "-c", "a")
    assert argv(start_command=["a", 8000]) == ("a", "8000")
    assert argv(command=["b"]) == ("b",)
    assert argv(start_command=None) == ()


def test_fields_and_folders_are_filled_in_and_other_braces_stay() -> None:
    command = ["{port} {model_path} {host} {model_name} {x} ${{y}}", '{"a": 1}', "/models", "/modelsX", "--d=/models/a"]
    plan = render(read_definition(definition(start_command=command)), port=5, host="h", folder="/data/x")
    assert plan.argv == ("5 /data/x h m {x} ${{y}}", '{"a": 1}', "/data/x", "/modelsX", "--d=/data/x/a")


@pytest.mark.parametrize("how", ["runner", "script"])
def test_pre_start_actions_run_in_order_and_then_the_command(tmp_path: Path, how: str) -> None:
    copy = ["sh", "-c", 'cp "$0" "$1"', str(tmp_path / "a/f"), str(tmp_path / "g")]
    plan = Plan(
        actions=(
            {"action": "mkdir", "args": {"path": str(tmp_path / "a" / "b")}, "ref": None},
            {"action": "write_file", "args": {"filename": str(tmp_path / "a/f"), "body": ["one", "it's $HOME"]}, "ref": "file"},
            {"action": "write_file", "args": {"filename": str(tmp_path / "a/f"), "body": ["two"], "append": True}, "ref": None},
            {"action": "log", "args": {"message": "hello; false"}, "ref": None},
            {"action": "run_command", "args": {"command": copy}, "ref": None},
        ),
        argv=(sys.executable, "-c", "import os, sys; print(os.getcwd(), os.environ['BACKEND_MODEL_PATH'], sys.argv[1:])", "a b"),
        cwd=str(tmp_path),
    )  # fmt: skip
    runner = [sys.executable, "-m", "model_variants.definition", msgspec.json.encode(plan).decode(), "--more", "c d"]
    argv = runner if how == "runner" else ["/bin/sh", "-c", as_script(plan) + ' "$@"', "start", "--more", "c d"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "g").read_text() == "one\nit's $HOME\ntwo\n" and (tmp_path / "a/b").is_dir()
    assert done.stdout.splitlines()[-1] == f"{tmp_path} {tmp_path} ['a b', '--more', 'c d']"
    assert "hello; false" in done.stdout + done.stderr


def test_a_failing_action_stops_the_start_with_its_output() -> None:
    failing = {"action": "run_command", "args": {"command": ["sh", "-c", "echo what happened; exit 3"]}, "ref": None}
    plan = Plan(actions=(failing,), argv=("true",), cwd="/")
    argv = [sys.executable, "-m", "model_variants.definition", msgspec.json.encode(plan).decode()]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and "what happened" in done.stderr and "ended with 3" in done.stderr and "Traceback" not in done.stderr
    script = subprocess.run(["/bin/sh", "-c", as_script(plan)], capture_output=True, text=True, timeout=60)
    assert script.returncode == 78 and "what happened" in script.stdout
    for stderr in (done.stderr, script.stderr):
        assert stderr.splitlines()[-1].startswith("model-definition.yaml: "), "by this and the code a worker knows what failed"
    absent = msgspec.structs.replace(plan, actions=({"action": "log", "args": {"message": "hi"}, "ref": None},), argv=("no-such-program",))
    lost = subprocess.run(["/bin/sh", "-c", as_script(absent)], capture_output=True, text=True, timeout=60)
    assert lost.returncode == 127 and "pre-start" not in lost.stderr, "the actions were fine"


@pytest.mark.slow
def test_what_an_action_installs_stays_in_the_sessions_own_environment(tmp_path: Path) -> None:
    """The runner makes an environment of its own before it calls pip; the start command's python is that one."""
    shown = {"action": "run_command", "args": {"command": ["pip", "--version"]}, "ref": None}
    plan = Plan(actions=(shown,), argv=("python", "-c", "import sys; print(sys.prefix)"), cwd=str(tmp_path))
    argv = [sys.executable, "-m", "model_variants.definition", msgspec.json.encode(plan).decode()]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "definition-env")
    assert str(tmp_path / "definition-env") in done.stderr, "pip itself says where it lives"


APP = """\
import os
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

def health(request):
    return JSONResponse({"status": "ok"})

def generate(request):
    return JSONResponse({"path": os.environ["BACKEND_MODEL_PATH"], "extra": os.path.exists(os.environ["BACKEND_MODEL_PATH"] + "/made")})

app = Starlette(routes=[Route("/health", health), Route("/generate", generate)])
"""


@pytest.mark.parametrize("port_word", ["{port}", "literal"])
def test_an_app_like_koalpaca_is_served_from_its_folder(tmp_path: Path, port_word: str) -> None:
    """A definition as in the documents: `/models` paths, an action before the start, a web app beside the weights."""
    port = free_port()
    folder = tmp_path / "koalpaca"
    (folder / "KoAlpaca-5.8B").mkdir(parents=True)
    (folder / "chatbot_api.py").write_text(APP)
    command = [sys.executable, "-m", "uvicorn", "--app-dir", "/models", "chatbot_api:app", "--host", "127.0.0.1", "--port"]
    service = {
        "pre_start_actions": [{"action": "run_command", "args": {"command": ["touch", "/models/KoAlpaca-5.8B/made"]}}],
        "start_command": [*command, str(port) if port_word == "literal" else port_word],
        "port": port,
        "health_check": {"path": "/health", "max_retries": 10},
    }
    model = {"name": "KoAlpaca-5.8B-model", "model_path": "/models/KoAlpaca-5.8B", "service": service}
    (folder / "model-definition.yaml").write_text(json.dumps({"models": [model]}))
    facts, given, variants = read_facts(folder), spec(model=str(folder)), load_variants()
    found = resolve(given, facts, site(), variants)
    assert found.variant == "custom" and found.port == (port if port_word == "literal" else None)
    plan = variants["custom"].launch(launch(given, found, port=port, work_dir=str(tmp_path)))
    assert plan.health.path
    with started(list(plan.argv), port, tmp_path / "log", env=plan.env, health=plan.health.path) as engine:
        status, body = engine.ask("GET", "/generate")
        assert status == 200 and json.loads(body) == {"path": str(folder / "KoAlpaca-5.8B"), "extra": True}
