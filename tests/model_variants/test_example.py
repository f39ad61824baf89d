"""The third party's variant of examples/, as its README says: installed beside Stoker in an environment of its own, and served."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
import venv
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from model_variants.base import Unsuitable
from model_variants.reading import read_facts
from model_variants.registry import GROUP, load_variants
from model_variants.resolve import resolve
from tests.support.engines import free_port, started
from tests.support.launches import launch, site, spec

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "echo-variant"


def parrot(folder: Path) -> Path:
    folder.mkdir()
    (folder / "echo.json").write_text("{}")
    return folder


def test_auto_finds_it_and_its_engine_answers(tmp_path: Path) -> None:
    variants = load_variants([EntryPoint("echo", "stoker_echo.variant:Echo", GROUP)])
    facts = read_facts(parrot(tmp_path / "parrot"))
    given = spec(options={"times": 2, "shout": True})
    found = resolve(given, facts, site(), variants)
    assert found.variant == "echo" and found.takes_key and found.memory == 128 * 2**20
    port = free_port()
    plan = variants["echo"].launch(launch(given, found, port=port))
    environment = {**plan.env, "PYTHONPATH": str(EXAMPLE)}
    with started(list(plan.argv), port, tmp_path / "log", env=environment, health="/health") as engine:
        assert plan.first_answer is not None
        first = json.loads(plan.first_answer.body)
        status, body = engine.ask("POST", plan.first_answer.path, first, "sk-session-secret")
        assert status == 200 and json.loads(body)["choices"][0]["message"]["content"] == "HI HI"
        assert engine.ask("POST", plan.first_answer.path, first, "another")[0] == 401
    with pytest.raises(Unsuitable, match="option tims: there is no such option; there are: times, shout"):
        resolve(spec(variant="echo", options={"tims": 2}), facts, site(), variants)


def test_the_page_shows_what_the_example_has() -> None:
    """Every name that the walk-through takes from Stoker is one that the example really uses."""
    page, source = (ROOT / "docs" / "write-a-variant.md").read_text(), (EXAMPLE / "stoker_echo" / "variant.py").read_text()
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    taken = r"\b(Options|Field|Traits|HealthCheck|LaunchPlan|draft|read_options|start_command|flags|served_name|one_chat_token)\("
    names = set(re.findall(taken, blocks))
    assert len(names) >= 9 and all(name in source for name in names)
    assert 'echo = "stoker_echo.variant:Echo"' in page and 'echo = "stoker_echo.variant:Echo"' in (EXAMPLE / "pyproject.toml").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_is_installed_and_served(tmp_path: Path) -> None:
    """A new environment with Stoker and the example from their wheels; what they depend on is lent by this one."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    libraries = next(home.glob("lib/python3*/site-packages"))
    (libraries / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    made = subprocess.run([*pip, str(ROOT), str(EXAMPLE)], capture_output=True, text=True, timeout=300)
    if made.returncode != 0:
        pytest.skip(f"no wheel could be built here: {made.stderr.strip().splitlines()[-1][:300]}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STOKER_", "PYTHON"))}
    environment |= {"STOKER_DATA_DIR": str(tmp_path / "data"), "STOKER_PORT": str(free_port()), "NO_COLOR": "1"}

    def stoker(*words: str, typed: str = "") -> str:
        done = subprocess.run(
            [str(home / "bin" / "stoker"), *words], input=typed, capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    asked = [home / "bin" / "python", "-c", "import model_variants; print(model_variants.__file__)"]
    assert str(home) in subprocess.run(asked, capture_output=True, text=True, env=environment, cwd=tmp_path).stdout
    try:
        stoker("serve", str(parrot(tmp_path / "parrot")), "-d")
        assert "say this again" in stoker("chat", "parrot", typed="say this again\n")
        shown = json.loads(stoker("service", "info", "parrot", "--json"))
        assert "echo" in json.dumps(shown)
    finally:
        subprocess.run([str(home / "bin" / "stoker"), "down"], capture_output=True, timeout=120, env=environment, cwd=tmp_path)
