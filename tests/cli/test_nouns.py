"""Each noun's listing and verbs, typed against a platform with one service."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from tests.support.stack import STOKER, Stack, eventually
from tests.support.terminal import terminal
from tests.support.typed import typed


def say(stack: Stack, *words: str, code: int = 0) -> str:
    """What the command prints."""
    result = typed(stack.data_dir, *words)
    assert result.returncode == code, (words, result)
    return result.stdout or result.stderr


def items(stack: Stack, *words: str) -> list[dict[str, Any]]:
    answer = json.loads(say(stack, *words, "-o", "json"))
    assert answer.keys() == json.loads(say(stack, *words, "--json")).keys()
    found: list[dict[str, Any]] = answer["items"]
    return found


def test_service_ls_has_the_contracts_columns(served: Stack) -> None:
    head, *rows = say(served, "service", "ls").splitlines()
    assert head.split() == ["NAME", "STATUS", "READY", "MODEL", "VARIANT", "ENDPOINT", "PROJECT", "OWNER", "AGE"]
    row = next(row.split() for row in rows if row.startswith("demo "))
    assert row[:5] == ["demo", "HEALTHY", "1/1", "demo", "demo"] and row[5] == f"{served.url}/services/demo"


def test_other_words_for_the_same(served: Stack) -> None:
    expected = [row["name"] for row in items(served, "service", "ls")]
    for words in (("services", "list"), ("services", "ls"), ("service", "list")):
        assert [row["name"] for row in items(served, *words)] == expected
    shown = [say(served, "service", verb, "demo", "--json") for verb in ("info", "show", "get", "inspect", "describe")]
    assert {json.loads(text)["name"] for text in shown} == {"demo"}
    assert say(served, "ps").splitlines()[0] == say(served, "status").splitlines()[0]


def test_labels_choose(served: Stack) -> None:
    assert [row["name"] for row in items(served, "service", "ls", "-l", "team=nobody")] == []


def test_info_yaml_is_what_apply_takes(served: Stack) -> None:
    text = say(served, "service", "info", "demo", "--yaml")
    assert "unchanged" in served.stoker("apply", "-f", "-", input=text).stdout


def test_logs_events_routes_revisions_explain(served: Stack) -> None:
    assert any("Uvicorn running" in line for line in say(served, "service", "logs", "demo").splitlines())
    assert len(say(served, "service", "logs", "demo", "--tail", "2").splitlines()) == 2
    assert say(served, "service", "logs", "demo", "--since", "1s").count("\n") <= 2
    assert "applied" in {event["reason"] for event in items(served, "service", "events", "demo")}
    assert [route["health"] for route in items(served, "service", "routes", "demo")] == ["healthy"]
    assert items(served, "service", "revisions", "demo")[-1]["revision"] == 1
    assert "demo is HEALTHY" in say(served, "service", "explain", "demo")
    assert say(served, "service", "get-endpoint", "demo") == f"{served.url}/services/demo\n"


def test_followed_logs_end_with_ctrl_c(served: Stack) -> None:
    with terminal([*STOKER, "service", "logs", "demo", "-f"], {"STOKER_DATA_DIR": str(served.data_dir)}) as typed:
        typed.until("Uvicorn running")
        typed.ctrl_c()
        assert typed.end() == 130 and "Traceback" not in typed.seen


def test_a_generated_token_calls_that_service_and_nothing_else(served: Stack) -> None:
    token = say(served, "service", "generate-token", "demo", "1h")
    assert token.startswith("sk-") and token.count("\n") == 1
    environment = {"STOKER_TOKEN": token.strip()}
    assert typed(served.data_dir, "service", "ls", "--token", token.strip()).returncode == 4
    out = subprocess.run(
        ["bash", "-c", f'curl -s {served.url}/v1/models -H "Authorization: Bearer $STOKER_TOKEN"'],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert [model["id"] for model in json.loads(out.stdout)["data"]] == ["demo"]


def test_env_is_for_eval(served: Stack) -> None:
    command = f"{' '.join(STOKER)} env demo"
    script = f'eval "$({command})" && curl -s "$OPENAI_BASE_URL/models" -H "Authorization: Bearer $OPENAI_API_KEY"'
    environment = {**os.environ, "STOKER_DATA_DIR": str(served.data_dir)}
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert json.loads(answer.stdout)["data"], answer
    whole = say(served, "env")
    assert f"export OPENAI_BASE_URL={served.url}/v1\n" in whole and served.user_token in whole


def test_chat_answers_each_line(served: Stack) -> None:
    out = served.stoker("chat", "demo", input="What is a session?\n\nAnd a node?\n").stdout
    assert len([line for line in out.splitlines() if line.strip()]) >= 2


def test_chat_in_a_terminal(served: Stack) -> None:
    with terminal([*STOKER, "chat", "demo"], {"STOKER_DATA_DIR": str(served.data_dir)}) as typed:
        typed.until("> ")
        typed.type("What is a node?\n")
        typed.until("> ", 20)
        typed.type("\x04")
        assert typed.end() == 0


def test_create_scale_restart_rollback_and_rm(served: Stack) -> None:
    made = say(served, "service", "create", "-", "demo", "1", "-t", "made", "-e", "A=1", "-r", "cpu=0.2", "-r", "memory=300MiB")
    assert "made created" in made
    spec = served.client.service("made")["spec"]
    assert spec["env"] == {"A": "1"} and spec["resources"] == {"cpu": 0.2, "memory": "300MiB"}
    assert say(served, "service", "create", "-", "demo", "1", "-t", "made", code=1) is not None, "create is no apply"
    say(served, "service", "scale", "made", "0..2")
    assert served.client.service("made")["spec"]["replicas"] == {"min": 0, "max": 2}
    say(served, "service", "restart", "made")
    assert served.client.service("made")["revision"] == 2
    assert say(served, "service", "rollback", "made", "9", code=3)
    say(served, "service", "rollback", "made", "1")
    say(served, "service", "rm", "made", "--now")
    eventually(lambda: typed(served.data_dir, "service", "info", "made").returncode == 3, 20, 0.3)


def test_sessions(served: Stack) -> None:
    id = items(served, "session", "ls", "demo")[0]["id"]
    assert json.loads(say(served, "session", "info", id[:-2], "--json"))["id"] == id, "a unique prefix"
    assert "Uvicorn" in say(served, "session", "logs", id)
    say(served, "session", "weight", id, "50")
    assert served.client.session(id)["weight"] == 50
    say(served, "session", "weight", id, "100")
    say(served, "session", "rm", id)
    eventually(lambda: [s for s in served.client.sessions("demo") if s["status"] == "READY" and s["id"] != id], 30, 0.2)
    assert id in {s["id"] for s in items(served, "session", "ls", "demo", "--all")}


def test_nodes(served: Stack) -> None:
    (node,) = json.loads(say(served, "node", "ls", "--json"))["items"]
    assert node["status"] == "ready" and len(node["gpus"]) == 2 and node["gpus"][0]["model"] == "H100"
    name, gpu = node["name"], node["gpus"][0]["id"]
    assert "2xH100" in say(served, "node", "ls")
    say(served, "node", "cordon", name, "--gpu", gpu)
    assert served.client.node(name)["gpus"][0]["status"] == "cordoned"
    say(served, "node", "cordon", name)
    assert served.client.node(name)["status"] == "cordoned"
    say(served, "node", "uncordon", name)
    shown = say(served, "node", "info", name)
    assert ("ready" in shown and "80GiB" in shown) or "80GB" in shown or "74." in shown
    assert say(served, "node", "rm", name, "--lost", code=1) is not None, "it is alive"


def test_a_limit_without_effect_is_said_and_listed(served: Stack) -> None:
    made = typed(served.data_dir, "token", "create", "--limit", "requests_per_minute=60", "--json")
    assert made.returncode == 0 and "limits.requests_per_minute has no effect yet" in made.stderr
    id = json.loads(made.stdout)["id"]
    assert [t["limits"] for t in items(served, "token", "ls") if t["id"] == id] == [{"requests_per_minute": 60}]


def test_tokens(served: Stack) -> None:
    made = json.loads(say(served, "token", "create", "--name", "ci", "--expires", "2h", "--limit", "requests_per_minute=60", "--json"))
    assert made["token"].startswith("sk-") and made["limits"] == {"requests_per_minute": 60}
    listed = items(served, "token", "ls")
    assert made["id"] in {t["id"] for t in listed} and not any("token" in t for t in listed)
    again = json.loads(say(served, "token", "rotate", made["id"], "--overlap", "1s", "--json"))
    assert again["token"] != made["token"]
    say(served, "token", "rm", again["id"])
    assert again["id"] not in {t["id"] for t in items(served, "token", "ls", "--all")}


def test_what_there_is_to_serve_with(served: Stack) -> None:
    assert {"demo", "command", "transformers"} <= {v["name"] for v in items(served, "variants", "ls")}
    assert "option start_delay" in say(served, "variant", "info", "demo")
    assert "demo" in {m["name"] for m in items(served, "model", "ls")}
    items(served, "engine", "ls")


def test_events_and_status(served: Stack) -> None:
    assert {event["object"] for event in items(served, "events", "--since", "1h")} >= {"service/demo"}
    status = json.loads(say(served, "status", "--json"))
    assert status["url"] == served.url and status["store"] == "up" and status["services"]


def test_config_says_where_each_setting_came_from(served: Stack) -> None:
    environment = {
        **os.environ,
        "STOKER_DATA_DIR": str(served.data_dir),
        "STOKER_ADMIN_TOKEN": "sk-secret",
        "STOKER_REDIS_URL": "redis://:pw@h/0",
    }
    out = subprocess.run([*STOKER, "config", "--json"], capture_output=True, text=True, env=environment, timeout=60).stdout
    rows = {row["setting"]: row for row in json.loads(out)["items"]}
    assert rows["data_dir"] == {"setting": "data_dir", "value": str(served.data_dir), "from": "environment STOKER_DATA_DIR"}
    assert rows["cluster"]["from"] == "default" and "sk-secret" not in out and "pw" not in rows["redis_url"]["value"]


def test_a_table_on_a_terminal(served: Stack) -> None:
    with terminal([*STOKER, "service", "ls"], {"STOKER_DATA_DIR": str(served.data_dir)}) as typed:
        assert typed.end() == 0
    assert "\x1b[" in typed.seen and "HEALTHY" in typed.seen


@pytest.mark.parametrize("words", [(), ("service",), ("serve",), ("up",), ("token", "create")])
def test_help_is_there(words: tuple[str, ...]) -> None:
    result = subprocess.run([*STOKER, *words, "--help"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and "Usage: stoker" in result.stdout
