"""What users type, read: models, names, replicas, pairs, times; and what is shown to them."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.cli.greeting import curl, quoted
from stoker.cli.log_lines import clean
from stoker.cli.model_word import resolve_model, service_name
from stoker.cli.pairs import parse_env, parse_mounts, parse_options, parse_pairs
from stoker.cli.replicas import parse_replicas
from stoker.cli.serve_spec import Flags, make
from stoker.cli.times import age, epoch
from stoker.cli.up.children import FEWEST_PORTS, node_names, split_ports
from stoker.errors import InvalidRequest, StokerError


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("demo", "demo"), ("./Qwen3-0.6B", "qwen3-0-6b"), ("/models/Qwen3-0.6B/", "qwen3-0-6b"), ("hf:Qwen/Qwen3-0.6B@main", "qwen3-0-6b"),
        ("hf:org/x_y:*.gguf", "x-y"), ("./x.gguf", "x-gguf"), ("calm3_22B chat", "calm3-22b-chat"), ("-a-", "a"), ("b" * 80, "b" * 63),
    ],
)  # fmt: skip
def test_the_name_follows_from_the_model(word: str, name: str) -> None:
    assert service_name(word) == name


def test_the_folder_we_stand_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Mine").mkdir()
    monkeypatch.chdir(tmp_path / "Mine")
    assert service_name(".") == "mine" and resolve_model(".") == str((tmp_path / "Mine").resolve())


def test_no_name_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="--name"):
        service_name("///")


def test_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "m.gguf").touch()
    (tmp_path / "m.txt").touch()
    assert resolve_model("demo") == "demo" and resolve_model("./demo") == str(tmp_path.resolve() / "demo")
    assert resolve_model("link") == resolve_model("./link") == resolve_model("real") == str(tmp_path.resolve() / "real")
    assert resolve_model("m.gguf") == str(tmp_path.resolve() / "m.gguf")
    assert resolve_model("hf:a/b") == "hf:a/b" and resolve_model("stored") == "stored"
    assert resolve_model("/elsewhere/m", here=False) == "/elsewhere/m"
    with pytest.raises(StokerError, match="model_missing"):
        resolve_model("./nothing")
    with pytest.raises(InvalidRequest, match="folder"):
        resolve_model("./m.txt")


def test_replicas() -> None:
    assert parse_replicas("3") == 3 and parse_replicas("0..2") == {"min": 0, "max": 2}
    for wrong in ("", "-1", "2..1", "1...2", "a", "1..", "1.5"):
        with pytest.raises(InvalidRequest):
            parse_replicas(wrong)


def test_pairs() -> None:
    assert parse_pairs(["A=1", "B=x=y", "C="], "-e") == {"A": "1", "B": "x=y", "C": ""}
    assert parse_env(["T=secret:hf-token", "L=x"], "-e") == {"T": {"secret": "hf-token"}, "L": "x"}
    assert parse_options(["a=1", "b=0.5", "c=true", "d=[1, 2]", "e=text", "f=2024-01-01"], "-o") == {
        "a": 1, "b": 0.5, "c": True, "d": [1, 2], "e": "text", "f": "2024-01-01",
    }  # fmt: skip
    assert parse_mounts(["/a:/b", "/c:/d:rw"]) == [
        {"source": "/a", "target": "/b", "read_only": True}, {"source": "/c", "target": "/d", "read_only": False},
    ]  # fmt: skip
    for wrong in (["A"], ["=1"], ["A=1", "A=2"]):
        with pytest.raises(InvalidRequest):
            parse_pairs(wrong, "-e")
    for wrong_mount in ("/a", "/a:/b:rx", ":/b"):
        with pytest.raises(InvalidRequest):
            parse_mounts([wrong_mount])


def test_flags_become_a_spec_of_what_was_given() -> None:
    assert make(Flags(model="demo"), here=True) == {"name": "demo", "model": "demo"}
    flags = Flags(model="demo", name="n", gpu="0.25", replicas="0..2", options=["ttft=0.1"], args=["--x"], public=True, model_names=["a"])
    assert make(flags, here=True) == {
        "name": "n", "model": "demo", "model_name": ["a"], "options": {"ttft": 0.1}, "args": ["--x"], "resources": {"gpu": 0.25},
        "replicas": {"min": 0, "max": 2}, "open_to_public": True,
    }  # fmt: skip


def test_ages() -> None:
    now = epoch("2026-01-02T00:00:00Z")
    times = ("2026-01-01T23:59:18Z", "2026-01-01T23:55:00.5Z", "2026-01-01T21:00:00Z", "2025-12-21T00:00:00Z")
    assert [age(text, now) for text in times] == ["42s", "4m", "3h", "12d"]
    assert age(None) == "-"


@given(st.text(max_size=60))
def test_no_log_line_moves_the_cursor(line: str) -> None:
    assert all(sign.isprintable() or sign == "\t" for sign in clean(line))


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1, max_size=40))
def test_the_printed_line_survives_a_shell(name: str) -> None:
    words = shlex.split(curl("http://127.0.0.1:8080/v1/chat/completions", name, None))
    assert words[0] == "curl" and json.loads(words[-1])["model"] == name


def test_a_token_file_with_blanks_in_its_path_works_in_the_printed_line(tmp_path: Path) -> None:
    file = tmp_path / "a b's"
    file.write_text("sk-x\n")
    script = curl("http://x", "m", f"$(cat {quoted(file)})").replace("curl", "printf '%s\\n'", 1)
    assert "Authorization: Bearer sk-x\n" in subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout


@given(st.integers(1024, 40000), st.integers(1, 64), st.integers(0, 20000))
def test_each_node_has_ports_of_its_own(first: int, nodes: int, more: int) -> None:
    last = first + nodes * FEWEST_PORTS - 1 + more
    slices = [tuple(map(int, part.split("-"))) for part in split_ports(f"{first}-{last}", nodes)]
    assert len(slices) == nodes and slices[0][0] == first and slices[-1][1] <= last
    assert all(a[1] < b[0] for a, b in itertools.pairwise(slices)) and all(b - a + 1 >= FEWEST_PORTS for a, b in slices)


def test_names_of_nodes() -> None:
    assert node_names("host", 3) == ["host", "host-2", "host-3"]
