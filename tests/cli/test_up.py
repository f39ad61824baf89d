"""`stoker up` and `stoker down` as they are typed, and what they refuse."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stoker.client import Client
from tests.support.stack import STOKER, Stack, eventually, running
from tests.support.terminal import terminal


def typed(data: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STOKER, *words], capture_output=True, text=True, timeout=120, env={**os.environ, "STOKER_DATA_DIR": str(data), **environment}
    )


def one_sentence(result: subprocess.CompletedProcess[str], code: int) -> str:
    assert result.returncode == code, (result.returncode, result.stderr)
    assert result.stdout == "" and len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


def test_json_is_the_contracts_object_and_the_secrets_are_private(platform: Stack) -> None:
    assert set(platform.up) == {"url", "data_dir", "admin_token_file", "user_token_file", "pid"}
    for file in (platform.up["admin_token_file"], platform.up["user_token_file"], platform.data_dir / "cluster.key"):
        assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    assert platform.client.ready()["version"]


def test_up_twice_is_refused_with_the_pid(platform: Stack) -> None:
    said = one_sentence(typed(platform.data_dir, "up", "-d", "--port", "0"), 1)
    assert "already in use by another up" in said and f"pid {platform.up['pid']}" in said
    assert typed(platform.data_dir, "status").returncode == 0, "the first is not harmed"


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = one_sentence(typed(tmp_path / "data", "up", "-d", "--port", port), 1)
        assert port in said and "--port" in said
        assert "--port" in one_sentence(typed(tmp_path / "data", "up", "--port", port), 1), "in the foreground as well"


@pytest.mark.parametrize("place", ["file/data", "/proc/nowhere/data"])
def test_a_data_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    data = tmp_path / place
    for words in (("up", "-d"), ("up",), ("serve", "demo")):
        assert str(data) in one_sentence(typed(data, *words), 1)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        filled = subprocess.run(["dd", "if=/dev/zero", f"of={small / 'filler'}"], capture_output=True)
        assert filled.returncode != 0, "the file system has an end"
        assert "space" in one_sentence(typed(small / "data", "up", "-d", "--port", "0"), 1)
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    "words", [("--nodes", "0"), ("--port", "70000"), ("--port", "x"), ("--mock-gpus", "eight"), ("--mock-gpus", "8xH100"), ("extra",)]
)
def test_wrong_words_are_refused_before_anything_is_made(tmp_path: Path, words: tuple[str, ...]) -> None:
    one_sentence(typed(tmp_path / "data", "up", "-d", *words), 2)
    assert not (tmp_path / "data").exists()


def test_down_where_nothing_runs_says_so(tmp_path: Path) -> None:
    result = typed(tmp_path, "down")
    assert result.returncode == 0 and "nothing runs" in result.stdout


@pytest.mark.timeout(180)
def test_down_and_up_again_bring_the_services_back(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        stack.stoker("serve", "demo", "-d")
        before = stack.client.service("demo")["sessions"]
        down = stack.stoker("down")
        assert "stopped" in down.stdout
        assert not stack.pids("engine") and not stack.pids("router") and not stack.pids("worker") and not stack.pids("store")
        assert stack.stoker("service", "ls", check=False).returncode == 5
        up = json.loads(stack.stoker("up", "-d", "--json", "--port", "0").stdout)
        with Client(up["url"], stack.admin_token) as client:
            service = eventually(lambda: _healthy(client))
            assert service["sessions"] != before and [n["status"] for n in client.nodes()] == ["ready"]
            with Client(up["url"], stack.user_token) as user:
                assert [model["id"] for model in user.served_models()] == ["demo"], "the same user token"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_node_that_was_cordoned_stays_cordoned_over_down_and_up(tmp_path: Path) -> None:
    with running(tmp_path, "--nodes", "2") as stack:
        first, second = sorted(node["name"] for node in stack.client.nodes())
        assert second == f"{first}-2"
        stack.stoker("node", "cordon", second)
        stack.stoker("down")
        up = json.loads(stack.stoker("up", "-d", "--json", "--port", "0", "--nodes", "2").stdout)
        with Client(up["url"], stack.admin_token) as client:
            states = {node["name"]: node["status"] for node in client.nodes()}
        assert states[first] == "ready" and states[second] != "ready"


@pytest.mark.timeout(120)
def test_the_settings_file_where_it_is_typed_counts_for_all_processes(tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "stoker.toml").write_text('data_dir = "data"\nresource_group = "blue"\nmodel_store = "models"\nport = 0\n')
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}

    def here(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*STOKER, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    up = here("up", "-d", "--json")
    try:
        assert json.loads(up.stdout)["data_dir"] == str(tmp_path / "data"), up.stderr
        assert [node["group"] for node in json.loads(here("node", "ls", "--json").stdout)["items"]] == ["blue"]
        assert "mine" in {model["name"] for model in json.loads(here("model", "ls", "--json").stdout)["items"]}
    finally:
        here("down")


@pytest.mark.timeout(180)
def test_down_with_keep_sessions_leaves_them_for_the_next_up(tmp_path: Path) -> None:
    with running(tmp_path) as stack:
        stack.stoker("serve", "demo", "-d")
        engines, sessions = stack.pids("engine"), stack.client.service("demo")["sessions"]
        stack.stoker("down", "--keep-sessions")
        assert stack.pids("engine") == engines and not stack.pids("worker")
        up = json.loads(stack.stoker("up", "-d", "--json", "--port", "0").stdout)
        with Client(up["url"], stack.admin_token) as client:
            assert eventually(lambda: _healthy(client))["sessions"] == sessions
        assert stack.pids("engine") == engines


@pytest.mark.timeout(120)
def test_in_the_foreground_ctrl_c_is_down(tmp_path: Path) -> None:
    environment = {"STOKER_DATA_DIR": str(tmp_path)}
    with terminal([*STOKER, "up", "--port", "0"], environment) as shown:
        shown.until("runs at http://127.0.0.1:")
        assert typed(tmp_path, "serve", "demo", "-d").returncode == 0
        shown.ctrl_c()
        assert shown.end() == 0 and "stopped" in shown.seen and "Traceback" not in shown.seen
    assert typed(tmp_path, "status").returncode == 5


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_second_ctrl_c_cuts_the_streams(tmp_path: Path) -> None:
    environment = {"STOKER_DATA_DIR": str(tmp_path)}
    with terminal([*STOKER, "up", "--port", "0"], environment) as shown:
        shown.until("runs at http://127.0.0.1:")
        assert typed(tmp_path, "serve", "demo", "-d", "--option", "tpot=5").returncode == 0
        chat = subprocess.Popen([*STOKER, "chat", "demo"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                env={**os.environ, **environment})  # fmt: skip
        assert chat.stdin is not None
        chat.stdin.write(b"go on for long\n")
        chat.stdin.close()
        up = json.loads((tmp_path / "up.json").read_text())
        with Client(up["url"], (tmp_path / "admin-token").read_text().strip()) as client:
            eventually(lambda: [route for route in client.routes("demo") if route["in_flight"]])
        shown.ctrl_c()
        shown.until("waiting for 1 session")
        shown.ctrl_c()
        assert shown.end(40) == 0
        chat.wait(20)


def _healthy(client: Client) -> dict[str, Any] | None:
    service = client.service("demo")
    return service if service["status"] == "HEALTHY" and service["sessions"] else None
