"""What commands say of things that did not happen: nothing, or plainly that they did not."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.cli.up import lock
from stoker.data_dir import DataDir
from tests.support.stack import STOKER, Stack, running
from tests.support.terminal import terminal
from tests.support.typed import Typed, typed


def say(stack: Stack, *words: str, code: int = 0) -> Typed:
    result = typed(stack.data_dir, *words)
    assert result.returncode == code, (words, result)
    return result


def phases(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("  placing", "  starting", "  loading", "  ready"))]


def test_a_stopped_or_sleeping_service_shows_no_phases(platform: Stack) -> None:
    stopped = say(platform, "serve", "demo", "--name", "off", "--replicas", "0").stdout
    assert "stopped" in stopped and "`stoker service scale off 1`" in stopped and "curl" not in stopped and not phases(stopped)
    asleep = say(platform, "serve", "demo", "--name", "nap", "--replicas", "0..1").stdout
    assert "the first request wakes it" in asleep and "curl" in asleep and "ready " not in asleep
    for name in ("off", "nap"):
        say(platform, "service", "rm", name, "--now")


def test_apply_says_how_long_it_waited_as_it_was_typed(platform: Stack, tmp_path: Path) -> None:
    file = tmp_path / "slow.yaml"
    file.write_text("name: slow\nmodel: demo\noptions: {load_delay: 60}\n")
    result = say(platform, "apply", "-f", str(file), "--wait", "--timeout", "2", code=1)
    assert "not ready after 2 s" in result.stderr, result
    say(platform, "service", "rm", "slow", "--now")


def test_create_of_what_exists_names_apply_and_scale(served: Stack) -> None:
    said = say(served, "service", "create", "-", "demo", "1", code=1).stderr
    assert "exists already" in said and "stoker apply" in said and "stoker service scale demo 1" in said and "version" not in said


def test_a_rollback_that_changes_nothing_says_so(served: Stack) -> None:
    revision = str(served.client.service("demo")["revision"])
    assert "nothing changed" in say(served, "service", "rollback", "demo", revision).stdout


def test_no_lines_asked_for_and_no_session_before_this_one(served: Stack) -> None:
    assert say(served, "service", "logs", "demo", "--tail", "0")[1:] == ("", "")
    say(served, "serve", "demo", "--name", "first", "-d")
    assert "no session that is over" in say(served, "service", "logs", "first", "--previous").stderr
    say(served, "service", "rm", "first", "--now")


def test_a_row_is_one_line_on_a_narrow_terminal(served: Stack) -> None:
    with terminal([*STOKER, "service", "ls"], {"STOKER_DATA_DIR": str(served.data_dir), "COLUMNS": "80"}) as shown:
        assert shown.end() == 0
    rows = [line for line in shown.seen.splitlines() if line.strip()]
    assert len(rows) == 1 + len(served.client.services()) and "ENDPOINT" not in rows[0], shown.seen


def test_a_lock_without_a_router_is_waited_for_as_long_as_was_typed(tmp_path: Path) -> None:
    held = lock.hold(DataDir(tmp_path).lock)
    try:
        said = typed(tmp_path, "serve", "demo", "--timeout", "1")
    finally:
        os.close(held)
    assert said.returncode == 1 and "not ready after 1 s" in said.stderr and f"pid {os.getpid()}" in said.stderr


def test_no_token_is_sent_to_the_port_of_a_router_that_moved(tmp_path: Path) -> None:
    with running(tmp_path) as before:
        say(before, "serve", "demo", "--name", "moved", "--replicas", "0")
        old = before.url
    with running(tmp_path) as after:
        assert after.url != old
        new = f"{after.url}/services/moved"
        assert f"OPENAI_BASE_URL={new}/v1" in say(after, "env", "moved").stdout
        shown = say(after, "service", "get-endpoint", "moved")
        assert shown.stdout == f"{old}/services/moved\n" and new in shown.stderr and len(shown.stderr.splitlines()) == 1
        greeted = say(after, "serve", "demo", "--name", "moved", "--replicas", "0").stdout
        assert f"Endpoint   {new}\n" in greeted and old not in greeted
        kept = typed(tmp_path, "env", "moved", STOKER_PUBLIC_URL=old)
        assert f"OPENAI_BASE_URL={old}/services/moved/v1" in kept.stdout, "an address that was chosen stands"
