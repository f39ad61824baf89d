"""What is pinned, what is shipped, who may import whom, and that pages lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)
BINARY = {".png", ".gif", ".svg", ".gguf", ".safetensors", ".bin"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(path for path in listed if (ROOT / path).is_file() and Path(path).suffix not in BINARY)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_both_lists_of_pins_agree(project: dict[str, Any]) -> None:
    locked = {_normal(name): version for name, version in PIN.findall((ROOT / "requirements.lock").read_text())}
    pinned = dict(pin.split("==") for pin in project["tool"]["uv"]["constraint-dependencies"])
    assert {_normal(name): version for name, version in pinned.items()} == locked
    assert len(locked) > 30


def test_every_dependency_is_pinned(project: dict[str, Any]) -> None:
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {_normal(re.split(r"[<>=!~;\[ ]", line)[0]) for line in wanted}
    pinned = {_normal(pin.split("==")[0]) for pin in project["tool"]["uv"]["constraint-dependencies"]}
    assert names - pinned == set()


def test_every_locked_package_has_a_hash() -> None:
    blocks = re.split(r"^(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    found = [block.split()[0] for block in blocks if PIN.match(block) and "--hash=sha256:" not in block]
    assert not found, "\n".join(found)


def test_no_file_names_a_package_index(tracked: list[str]) -> None:
    address = re.compile(
        r"https?://[^\s\"'>)]*(?:pypi|pythonhosted|/simple\b)|^\s*(?:extra-)?index-url\s*=|INDEX_URL\s*=\s*\S", re.MULTILINE
    )
    found = [path for path in tracked if address.search((ROOT / path).read_text())]
    assert not found, "\n".join(found)


def test_the_lock_with_addresses_stays_out() -> None:
    ignored = subprocess.run(["git", "check-ignore", "uv.lock"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.strip() == "uv.lock"


def test_the_wheel_has_every_package_and_all_their_files(project: dict[str, Any], tracked: list[str]) -> None:
    """hatchling ships what git does not ignore, so a data file that is ignored would be missing from the wheel."""
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    outside = {"tests", "bench", "docs", "scripts", "examples"}
    top = {path.split("/")[0] for path in tracked if path.endswith(".py") and "/" in path}
    assert set(shipped) == top - outside
    folders = {Path(path).parent for path in tracked if path.endswith(".py") and path.split("/")[0] in shipped}
    found = [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()]
    assert not found, "\n".join(found)
    assert {Path(path).suffix for path in tracked if path.startswith("stoker/store/lua/")} == {".lua"}
    assert all((ROOT / source).exists() for source in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])


def test_who_may_import_whom(project: dict[str, Any]) -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]
    assert f"{len(project['tool']['importlinter']['contracts'])} kept" in found.stdout


def test_links_between_pages_lead_somewhere(tracked: list[str]) -> None:
    broken = []
    for page in (path for path in tracked if path.endswith(".md")):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            if "://" not in target and not (ROOT / page).parent.joinpath(target).exists():
                broken.append(f"{page}: {target}")
    assert not broken, "\n".join(broken)


def test_no_file_names_a_directory_of_somebodys_own_machine(tracked: list[str]) -> None:
    own = re.compile(r"(?<![\w.])/(?:work|Users)/\w+|\.\./" + "shared")
    found = [path for path in tracked if own.search((ROOT / path).read_text())]
    assert not found, "\n".join(found)
