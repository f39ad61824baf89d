"""Exit codes are a contract; errors are one plain sentence on stderr that says what to do next."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stoker.cli import failure
from stoker.errors import (
    ConfigurationError,
    Conflict,
    InvalidRequest,
    InvalidSpec,
    NotAllowed,
    NotFound,
    RouterUnreachable,
    StokerError,
    TokenExpired,
    Unavailable,
    VersionConflict,
)
from tests.support.stack import STOKER, Stack
from tests.support.typed import typed


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StokerError("x"), 1), (Unavailable("x"), 1), (Conflict("x"), 1), (VersionConflict("x"), 1), (ConfigurationError("x"), 1),
        (InvalidRequest("x"), 2), (InvalidSpec("x"), 2), (NotFound("x"), 3), (NotAllowed("x"), 4), (TokenExpired("x"), 4),
        (RouterUnreachable("x"), 5),
    ],
)  # fmt: skip
def test_each_error_has_its_code(error: StokerError, code: int) -> None:
    assert failure.exit_code(error) == code


def refused(stack: Stack, code: int, *words: str) -> str:
    result = typed(stack.data_dir, *words)
    assert result.returncode == code, (words, result.returncode, result.stdout, result.stderr)
    assert result.stdout == "" and len(result.stderr.splitlines()) == 1 and result.stderr.startswith("stoker: "), result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("service", "info", "nothing"), ("service", "rm", "nothing"), ("service", "scale", "nothing", "1"), ("service", "logs", "nothing"),
        ("service", "events", "nothing"), ("service", "generate-token", "nothing"), ("service", "restart", "nothing"),
        ("session", "info", "nothing"), ("session", "ls", "nothing"), ("node", "info", "nothing"), ("node", "drain", "nothing"),
        ("token", "rm", "nothing"), ("variant", "info", "nothing"), ("model", "info", "nothing"), ("env", "nothing"), ("chat", "nothing"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_3(platform: Stack, words: tuple[str, ...]) -> None:
    assert "nothing" in refused(platform, 3, *words)


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",), ("service", "nonsense"), ("service", "ls", "--nonsense"), ("service", "info"), ("service", "scale", "demo", "3..1"),
        ("service", "scale", "demo", "many"), ("session", "weight", "x", "101"), ("service", "ls", "-o", "xml"), ("apply",), ("delete",),
        ("token", "create", "--limit", "fast"), ("node", "drain", "x", "--timeout", "soon"), ("service", "logs", "x", "--since", "long"),
        ("service", "ls", "--url", "not-a-url"),
    ],
)  # fmt: skip
def test_wrong_usage_is_2(platform: Stack, words: tuple[str, ...]) -> None:
    refused(platform, 2, *words)


@pytest.mark.parametrize(
    "words",
    [
        ("secret", "ls"), ("project", "ls"), ("usage",), ("simulate", "-f", "x"), ("store", "info"),
        ("service", "rollout", "x"), ("service", "plan", "x"), ("node", "token"), ("token", "usage", "x"), ("model", "pull", "hf:a/b"),
        ("engine", "install", "vllm"), ("worker", "--join", "x"),
    ],
)  # fmt: skip
def test_what_this_version_does_not_have_says_so(platform: Stack, words: tuple[str, ...]) -> None:
    assert "this version" in refused(platform, 2, *words)


@pytest.mark.parametrize("words", [("service", "ls"), ("status",), ("node", "ls"), ("env", "demo")])
def test_a_wrong_token_is_4(platform: Stack, words: tuple[str, ...]) -> None:
    said = refused(platform, 4, *words, "--token", "sk-wrong-token")
    assert "`stoker env`" in said and "sk-wrong" not in said


def test_a_users_token_may_not_administer(platform: Stack) -> None:
    assert "token" in refused(platform, 4, "node", "ls", "--token", platform.user_token)


def test_no_router_is_5_and_names_the_url(platform: Stack) -> None:
    assert "http://127.0.0.1:9" in refused(platform, 5, "service", "ls", "--url", "http://127.0.0.1:9")


@pytest.mark.parametrize("words", [("status",), ("service", "ls"), ("env",), ("chat", "x"), ("serve", "demo", "--dry-run")])
def test_no_platform_at_all_is_5_and_says_how_to_start_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = typed(tmp_path, *words)
    assert result.returncode == 5 and "http://" in result.stderr and "stoker up" in result.stderr


def test_no_token_of_ours_goes_to_another_router(platform: Stack, tmp_path: Path) -> None:
    said = refused(platform, 4, "service", "ls", "--url", platform.url.replace("127.0.0.1", "localhost"))
    assert "token" in said


def test_a_flag_wins_over_the_environment(platform: Stack) -> None:
    environment = {"STOKER_URL": "http://127.0.0.1:9", "STOKER_TOKEN": "sk-wrong"}
    words = ("service", "ls", "--url", platform.url, "--token", platform.admin_token)
    assert typed(platform.data_dir, *words, **environment).returncode == 0
    assert typed(platform.data_dir, *words[:2], **environment).returncode == 5
    assert (
        typed(platform.data_dir, *words[:2], "--data-dir", str(platform.data_dir), "--token", platform.admin_token, **environment)[0] == 0
    )


def test_an_unreadable_settings_file_is_one_sentence(platform: Stack, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("data_dir = ")
    result = typed(platform.data_dir, "--config", str(tmp_path / "bad.toml"), "status", STOKER_DATA_DIR="")
    assert result.returncode == 1 and "bad.toml" in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_reader_that_leaves_early_is_no_traceback(served: Stack) -> None:
    environment = {**os.environ, "STOKER_DATA_DIR": str(served.data_dir)}
    script = f"{' '.join(STOKER)} events | head -c 1 >/dev/null"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr


def test_debug_shows_the_traceback(platform: Stack) -> None:
    result = typed(platform.data_dir, "service", "info", "nothing", "--debug")
    assert result.returncode == 3 and "Traceback" in result.stderr
