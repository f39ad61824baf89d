"""`apply -f`, `delete -f`: what is wrong is said with file, line and field, and then nothing has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stack import Stack, eventually
from tests.support.typed import Typed, typed

GOOD = "name: good\nmodel: demo\n"

WRONG = {
    "an unknown field": ("name: a\nmodel: demo\nreplica: 2\n", 3, "replica"),
    "a field of a block": ("name: a\nmodel: demo\nresources:\n  gpus: 1\n", 4, "resources.gpus"),
    "a duplicate key": ("name: a\nmodel: demo\nmodel: demo\n", 3, "model"),
    "an alias": ("name: a\nmodel: demo\nlabels: &x {a: b}\nenv: *x\n", 3, "anchor"),
    "a tag": ("name: a\nmodel: !!str demo\n", 2, "tag"),
    "a wrong type": ("name: a\nmodel: demo\npriority: high\n", 3, "priority"),
    "an ambiguous unit": ("name: a\nmodel: demo\nresources: {memory: 16g}\n", 3, "resources.memory"),
    "a cpu in millis": ("name: a\nmodel: demo\nresources: {cpu: 500m}\n", 3, "0.5"),
    "a rounded share": ("name: a\nmodel: demo\nresources: {gpu: 0.333}\n", 3, "resources.gpu"),
    "a share above one": ("name: a\nmodel: demo\nresources: {gpu: 1.5}\n", 3, "resources.gpu"),
    "a truth in env": ("name: a\nmodel: demo\nenv: {DEBUG: true}\n", 3, "quote"),
    "a name that is no label": ("name: Not_A_Label\nmodel: demo\n", 1, "name"),
    "no model": ("name: a\nreplicas: 1\n", 1, "model"),
    "no yaml": ("name: a\nmodel: [demo\n", 3, ""),
    "another kind": ("kind: project\nname: nlp\n", 1, "kind"),
    "the second document": ("name: a\nmodel: demo\n---\nname: b\n", 4, "model"),
    "twice the same name": ("name: a\nmodel: demo\n---\nname: a\nmodel: demo\n", 4, "twice"),
    "a relative path": ("name: a\nmodel: ./here\n", 2, "model"),
    "no such variant": ("name: a\nmodel: demo\nvariant: nope\n", 3, "variant"),
    "a wrong option": ("name: a\nmodel: demo\nvariant: vllm\noptions:\n  max_model_len: x\n", 5, "options.max_model_len"),
    "several containers": ("name: a\nmodel: demo\ncluster_size: 2\n", 3, "cluster_size"),
}


def apply(stack: Stack, path: Path, *words: str) -> Typed:
    return typed(stack.data_dir, "apply", "-f", str(path), *words)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_yaml_is_2_with_file_line_and_field(platform: Stack, tmp_path: Path, case: str) -> None:
    text, line, word = WRONG[case]
    (tmp_path / "0-good.yaml").write_text(GOOD)
    (tmp_path / "1-wrong.yaml").write_text(text)
    result = apply(platform, tmp_path)
    assert result.returncode == 2 and result.stdout == "" and len(result.stderr.splitlines()) == 1, result
    assert f"1-wrong.yaml:{line}: " in result.stderr and word in result.stderr, result.stderr
    assert not {"good", "a", "b"} & {service["name"] for service in platform.client.services()}, "nothing is changed"


@pytest.mark.parametrize(("content", "word"), [(b"\xff\xfe", "UTF-8"), (b"# " + b"x" * 300_000, "256 KiB"), (b"", "no document")])
def test_what_is_no_text_at_all(platform: Stack, tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    result = apply(platform, tmp_path / "bad.yaml")
    assert result.returncode == 2 and word in result.stderr and "bad.yaml" in result.stderr


def test_files_that_are_not_there(platform: Stack, tmp_path: Path) -> None:
    assert "nothing.yaml" in apply(platform, tmp_path / "nothing.yaml").stderr
    empty = apply(platform, tmp_path)
    assert empty.returncode == 2 and ".yaml" in empty.stderr


def test_created_unchanged_changed_deleted(platform: Stack, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text("name: one\nmodel: demo\n---\nname: two\nmodel: demo\nreplicas: 0\n")
    assert apply(platform, file).stdout == "service/one created\nservice/two created\n"
    assert apply(platform, file).stdout == "service/one unchanged\nservice/two unchanged\n"
    file.write_text("name: one\nmodel: demo\npriority: 3\n---\nname: two\nmodel: demo\nreplicas: 0\n")
    assert "service/one changed, now revision 1" in apply(platform, file).stdout, "priority restarts nothing"
    assert typed(platform.data_dir, "delete", "-f", str(file), "--now").returncode == 0
    eventually(lambda: not {"one", "two"} & {service["name"] for service in platform.client.services()})
    gone = typed(platform.data_dir, "delete", "-f", str(file))
    assert gone.returncode == 3 and "one" in gone.stderr and "two" in gone.stderr


def test_what_has_no_effect_yet_is_said(platform: Stack, tmp_path: Path) -> None:
    (tmp_path / "note.yaml").write_text("name: noted\nmodel: demo\nreplicas: 0\npreemptible: true\n")
    result = apply(platform, tmp_path / "note.yaml")
    assert result.returncode == 0 and "preemptible" in result.stderr
    typed(platform.data_dir, "service", "rm", "noted", "--now")


def test_waiting_for_what_comes_and_for_what_does_not(platform: Stack, tmp_path: Path) -> None:
    (tmp_path / "comes.yaml").write_text("name: comes\nmodel: demo\n")
    came = apply(platform, tmp_path / "comes.yaml", "--wait")
    assert came.returncode == 0 and "ready" in came.stdout
    (tmp_path / "huge.yaml").write_text("name: huge\nmodel: demo\nresources: {gpu: 100}\n")
    result = apply(platform, tmp_path / "huge.yaml", "--wait")
    assert result.returncode == 1 and "no_fit" in result.stderr
    for name in ("comes", "huge"):
        typed(platform.data_dir, "service", "rm", name, "--now")


def test_a_dry_run_is_0_1_or_2_and_changes_nothing(platform: Stack, tmp_path: Path) -> None:
    (tmp_path / "fits.yaml").write_text("name: dry\nmodel: demo\n")
    fits = apply(platform, tmp_path / "fits.yaml", "--dry-run")
    assert fits.returncode == 0 and "it fits" in fits.stdout and "placement" in fits.stdout and "-> demo" in fits.stdout
    (tmp_path / "huge.yaml").write_text("name: dry\nmodel: demo\nresources: {gpu: 100}\n")
    huge = apply(platform, tmp_path / "huge.yaml", "--dry-run")
    assert huge.returncode == 1 and "it does not fit" in huge.stdout
    (tmp_path / "bad.yaml").write_text("name: dry\nmodel: demo\nvariant: [x]\n")
    assert apply(platform, tmp_path / "bad.yaml", "--dry-run").returncode == 2
    assert "dry" not in {service["name"] for service in platform.client.services()}


def test_the_command_that_the_example_names_works(platform: Stack) -> None:
    """No node has the models of the example, so that the verdict is no; the file itself is right."""
    example = Path(__file__).resolve().parents[2] / "docs" / "service.example.yaml"
    assert "stoker apply --dry-run -f docs/service.example.yaml" in example.read_text()
    result = apply(platform, example, "--dry-run")
    assert result.returncode == 1 and result.stderr == "", result
    assert "service/hello\n" in result.stdout and "service/calm3-22b\n" in result.stdout and "model_missing" in result.stdout
