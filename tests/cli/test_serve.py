"""`stoker serve` as it is typed: in a pipe, in a terminal, twice, with what is not there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.stack import STOKER, Stack, eventually
from tests.support.terminal import terminal
from tests.support.typed import typed

FAILING = ("--option", "fail_start=3")


def say(stack: Stack, *words: str, code: int = 0) -> str:
    """What the command prints on stdout."""
    result = typed(stack.data_dir, *words)
    assert result.returncode == code, (words, result)
    return result.stdout


def printed_curl(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("curl "))


def test_in_a_pipe_it_shows_the_phases_and_a_line_that_works_when_pasted(platform: Stack) -> None:
    out = platform.stoker("serve", "demo").stdout  # a real pipe
    phases = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert phases[-4:] == ["placing", "starting", "loading", "ready"]
    assert f"Endpoint   {platform.url}/services/demo\n" in out
    answer = subprocess.run(["bash", "-c", printed_curl(out)], capture_output=True, text=True, timeout=30)
    assert json.loads(answer.stdout)["choices"][0]["message"]["content"], answer.stderr


def test_the_same_name_again_is_an_apply_that_changes_nothing(served: Stack) -> None:
    before = served.client.service("demo")
    served.stoker("serve", "demo")
    after = served.client.service("demo")
    assert (after["version"], after["sessions"]) == (before["version"], before["sessions"])


def test_another_spec_waits_for_sessions_of_the_new_revision(platform: Stack) -> None:
    say(platform, "serve", "demo", "--name", "again", "-d")
    old = platform.client.service("again")["sessions"]
    say(platform, "serve", "demo", "--name", "again", "--option", "ttft=0.001", "-d")
    service = platform.client.service("again")
    ready = [s for s in platform.client.sessions("again") if s["status"] == "READY" and s["revision"] == service["revision"]]
    assert service["revision"] == 2 and ready and ready[0]["id"] not in old
    say(platform, "service", "rm", "again", "--now")


def test_a_sleeping_service_is_as_wanted(platform: Stack) -> None:
    out = say(platform, "serve", "demo", "--name", "sleepy", "--replicas", "0..1")
    assert "the first request wakes it" in out
    answer = subprocess.run(["bash", "-c", printed_curl(out)], capture_output=True, text=True, timeout=30)
    assert json.loads(answer.stdout)["choices"]
    say(platform, "service", "rm", "sleepy", "--now")


def test_a_public_service_needs_no_token_in_the_printed_line(platform: Stack) -> None:
    out = say(platform, "serve", "demo", "--name", "open", "--public")
    assert "Authorization" not in printed_curl(out)
    answer = subprocess.run(["bash", "-c", printed_curl(out)], capture_output=True, text=True, timeout=30)
    assert json.loads(answer.stdout)["choices"]
    say(platform, "service", "rm", "open", "--now")


def test_words_behind_two_dashes_are_the_engines(platform: Stack) -> None:
    say(platform, "serve", "demo", "--name", "args", "-d", "--", "--ttft", "0.002")
    assert platform.client.service("args")["spec"]["args"] == ["--ttft", "0.002"]
    say(platform, "service", "rm", "args", "--now")
    refused = typed(platform.data_dir, "serve", "demo", "extra")
    assert refused.returncode == 2 and "extra" in refused.stderr


def test_what_fits_nowhere_says_why_and_returns_1(platform: Stack) -> None:
    result = typed(platform.data_dir, "serve", "demo", "--name", "huge", "--gpu", "64")
    assert result.returncode == 1 and "no_fit" in result.stderr and "Traceback" not in result.stderr
    say(platform, "service", "rm", "huge", "--now")


def test_a_dry_run_of_a_folder_that_was_never_served_says_where_it_would_go(platform: Stack, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("The cat sat on the mat. " * 50)
    result = typed(platform.data_dir, "serve", str(tmp_path / "texts"), "--dry-run")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "it fits" in result.stdout and f"--text {tmp_path / 'texts'}" in result.stdout and "placement: " in result.stdout
    empty = typed(platform.data_dir, "serve", "never-stored", "--dry-run")
    assert empty.returncode == 1 and "it does not fit" in empty.stdout and "model_missing" in empty.stdout
    assert "texts" not in {service["name"] for service in platform.client.services()}


def test_a_start_that_fails_shows_the_reason_and_the_last_lines(platform: Stack) -> None:
    result = typed(platform.data_dir, "serve", "demo", "--name", "broken", "--timeout", "4", *FAILING)
    assert result.returncode == 1
    assert "not ready after 4 s" in result.stderr and "start_exit" in result.stdout
    assert "broken-" in result.stderr.splitlines()[-1], "the last lines of its log"
    say(platform, "service", "rm", "broken", "--now")


@pytest.mark.parametrize("word", ["/nowhere/at/all", "./nothing", "nothing.gguf"])
def test_a_path_that_does_not_exist_is_one_sentence(platform: Stack, word: str) -> None:
    result = typed(platform.data_dir, "serve", word)
    assert result.returncode == 1 and result.stdout == ""
    assert word in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_stored_name_that_nobody_has_is_model_missing(platform: Stack) -> None:
    result = typed(platform.data_dir, "serve", "never-stored")
    assert result.returncode == 1 and "model_missing" in result.stderr
    say(platform, "service", "rm", "never-stored", "--now")


def test_a_relative_path_becomes_absolute_and_names_the_service(platform: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "My_Model.v1"
    folder.mkdir()
    for word in ("./My_Model.v1", "My_Model.v1", "./My_Model.v1/"):
        say(platform, "serve", word, "--timeout", "0", code=1)
        assert platform.client.service("my-model-v1")["spec"]["model"] == str(folder.resolve())
    say(platform, "service", "rm", "my-model-v1", "--now")


def test_a_gguf_file_is_a_model(platform: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    say(platform, "serve", "./x.gguf", "--timeout", "0", code=1)
    assert platform.client.service("x-gguf")["spec"]["model"] == str((tmp_path / "x.gguf").resolve())
    say(platform, "service", "rm", "x-gguf", "--now")


def test_without_a_model_it_names_up(platform: Stack) -> None:
    result = typed(platform.data_dir, "serve")
    assert result.returncode == 2 and "stoker up" in result.stderr


def test_a_wrong_flag_starts_nothing(tmp_path: Path) -> None:
    for words in (["--gpu", "0.333"], ["--gpu", "lots"], ["--replicas", "3..1"], ["--name", "Not A Label"], ["--install"], ["--nonsense"]):
        result = typed(tmp_path / "data", "serve", "demo", *words)
        assert result.returncode == 2 and len(result.stderr.splitlines()) == 1, (words, result.stderr)
    assert not (tmp_path / "data").exists()


def test_a_dry_run_changes_nothing(platform: Stack) -> None:
    result = typed(platform.data_dir, "serve", "demo", "--name", "never", "--dry-run")
    assert "never" not in {service["name"] for service in platform.client.services()}
    assert "model" in result.stdout


@pytest.mark.timeout(90)
def test_in_a_terminal_the_log_follows_and_ctrl_c_ends_only_that(platform: Stack) -> None:
    environment = {"STOKER_DATA_DIR": str(platform.data_dir)}
    with terminal([*STOKER, "serve", "demo", "--name", "watched"], environment) as typed:
        seen = typed.until("The log follows")
        assert all(phase in seen for phase in ("placing", "starting", "loading", "ready")) and "curl " in seen
        typed.until("Uvicorn running")
        typed.ctrl_c()
        assert typed.end() == 130
        assert "watched goes on" in typed.seen and "Traceback" not in typed.seen
    assert platform.client.service("watched")["status"] == "HEALTHY"
    say(platform, "service", "rm", "watched", "--now")


@pytest.mark.timeout(90)
def test_ctrl_c_during_a_start_does_not_end_the_start(platform: Stack) -> None:
    environment = {"STOKER_DATA_DIR": str(platform.data_dir)}
    with terminal([*STOKER, "serve", "demo", "--name", "slow", "--option", "load_delay=1.5"], environment) as typed:
        typed.until("loading")
        typed.ctrl_c()
        assert typed.end() == 130 and "slow goes on" in typed.seen
    eventually(lambda: platform.client.service("slow")["status"] == "HEALTHY", 20)
    say(platform, "service", "rm", "slow", "--now")
