"""What is wrong with the settings is one sentence, the same from every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.errors import ConfigurationError
from stoker.settings import load
from tests.support.typed import typed

FILES = {
    'data_dir = "abc\n': ("stoker.toml", "line 1"),
    "prot = 8080\n": ("stoker.toml", "'prot' is no setting; did you mean port?"),
    "zzz = 8080\n": ("'zzz' is no setting", "`stoker config`"),
    'log_format = "xml"\n': ("log_format in ", "is text or json, not xml"),
    "runner_jobs_limit = 0\n": ("runner_jobs_limit in ", "greater than or equal to 1, not 0"),
}


@pytest.mark.parametrize("text", FILES)
def test_a_wrong_file_is_refused_with_its_name_and_the_cure(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "stoker.toml"
    file.write_text(text)
    monkeypatch.setenv("STOKER_CONFIG", str(file))
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert all(word in caught.value.message for word in (*FILES[text], str(file))), caught.value.message
    assert "\n" not in caught.value.message
    for words in (("config",), ("up", "-d", "--port", "0")):
        shown = typed(tmp_path / "data", *words, STOKER_CONFIG=str(file))
        assert shown.returncode in (1, 2) and len(shown.stderr.splitlines()) == 1 and "report it" not in shown.stderr, shown
    assert not (tmp_path / "data").exists(), "nothing was started"


@pytest.mark.parametrize("role", ["router", "scheduler", "worker", "router.jobs"])
@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("LOG_FORMAT", "xml", "STOKER_LOG_FORMAT is text or json, not xml"),
        ("CONFIG", "/nowhere/x.toml", "no settings file /nowhere/x.toml"),
    ],
)
def test_every_process_says_the_same_sentence(role: str, variable: str, value: str, sentence: str, tmp_path: Path) -> None:
    environment = {**os.environ, "STOKER_DATA_DIR": str(tmp_path), f"STOKER_{variable}": value}
    ended = subprocess.run([sys.executable, "-m", role], capture_output=True, text=True, env=environment, timeout=60)
    assert ended.returncode == 1 and sentence in ended.stderr and len(ended.stderr.splitlines()) == 1, ended.stderr


def test_secrets_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_ADMIN_TOKEN", "sk-hush")
    with pytest.raises(ConfigurationError) as caught:
        load(redis_url=5)
    assert "STOKER_REDIS_URL" in caught.value.message and "5" not in caught.value.message and "hush" not in caught.value.message
