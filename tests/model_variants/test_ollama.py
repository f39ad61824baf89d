"""The start script of the variant `ollama`, run by a real shell with a stand-in for the program: Ollama itself is on no package index."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import msgspec
import pytest

from model_variants.base import LaunchPlan, Unsuitable
from model_variants.registry import load_variants
from model_variants.resolve import resolve
from tests.support.launches import GGUF, launch, site, spec

PROGRAM = """\
#!/bin/sh
echo "$1 $OLLAMA_HOST" >> calls
case $1 in
  serve) shift; echo "serving with $*"; touch up; trap 'echo stopped; exit 0' TERM; while :; do sleep 0.1; done ;;
  list) test -e up ;;
  create)
    test ! -e broken || { echo "no such blob"; exit 1; }
    cat "$4" "$(sed 's/FROM //' "$4")"; test "$2 $3" = "model -f" ;;
esac
"""


@pytest.fixture
def plan(tmp_path: Path) -> LaunchPlan:
    """The plan for `the model.gguf`, with the stand-in in its environment's bin."""
    program = tmp_path / "engine" / "bin" / "ollama"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    model = tmp_path / "the model.gguf"
    model.write_text("weights\n")
    facts = msgspec.structs.replace(GGUF, path=str(model))
    given = spec(variant="ollama", model=str(model), options={"parallel": 2}, args=["--extra", "a b"])
    found = resolve(given, facts, site("ollama==0.12"), load_variants([]))
    more = launch(given, found, engine_prefix=str(tmp_path / "engine"), work_dir=str(tmp_path))
    return load_variants([])["ollama"].launch(more)


def _start(plan: LaunchPlan, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, **plan.env}
    return subprocess.Popen(
        plan.argv, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_the_model_is_created_once_the_server_is_up_and_ends_with_it(plan: LaunchPlan, tmp_path: Path) -> None:
    assert plan.cwd == str(tmp_path) and plan.health.path == "/v1/models/model" and plan.loading_status == 404
    assert plan.env["OLLAMA_KEEP_ALIVE"] == "-1" and plan.env["OLLAMA_NUM_PARALLEL"] == "2", "an idle model stays loaded"
    process = _start(plan, tmp_path)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines == ["serving with --extra a b\n", "FROM ./model.gguf\n", "weights\n"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (143, 0)
        assert process.stdout.read() == "stopped\n", "the server itself was told to stop"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
    assert {line.split()[1] for line in (tmp_path / "calls").read_text().splitlines()} == {"127.0.0.1:23456"}


def test_a_model_that_cannot_be_created_ends_the_start_with_its_output(plan: LaunchPlan, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    process = _start(plan, tmp_path)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and "no such blob" in output


def test_a_server_that_dies_ends_the_start(plan: LaunchPlan, tmp_path: Path) -> None:
    program = tmp_path / "engine" / "bin" / "ollama"
    shutil.copy("/bin/false", program)
    process = _start(plan, tmp_path)
    process.communicate(timeout=30)
    assert process.returncode == 1


def test_a_split_model_is_refused_with_what_to_do() -> None:
    split = msgspec.structs.replace(GGUF, files=("x-00001-of-00002.gguf", "x-00002-of-00002.gguf"))
    with pytest.raises(Unsuitable, match="llama-gguf-split --merge"):
        resolve(spec(variant="ollama"), split, site("ollama==0.12"), load_variants([]))
