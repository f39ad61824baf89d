"""The rules of the house that no linter holds. A rule that is in the way is changed here, with a reason, not worked around."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("stoker", "model_variants", "router", "scheduler", "worker")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
DRAWERS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "shared", "lib", "core"}
AT_IMPORT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If)

BROAD_EXCEPTS: dict[str, str] = {
    "stoker/cli/main.py": "the one place between any error and the user: a sentence, or the traceback with --debug",
}
"""File to reason: where anything at all may be caught and not raised again."""


class Source(NamedTuple):
    """One Python file of the repository."""

    path: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def says(self, word: str, line: int) -> bool:
        """Whether a comment in this line or the one above it (counted from 1) has the word, and so a reason."""
        return any(word in self.lines[n].partition("#")[2] for n in (line - 2, line - 1) if 0 <= n < len(self.lines))


def files() -> list[str]:
    """Every file that is part of the repository, or will be when it is committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(path for path in listed if (ROOT / path).is_file())


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    found = []
    for path in files():
        if path.endswith(".py"):
            text = (ROOT / path).read_text()
            found.append(Source(path, text, ast.parse(text, path)))
    assert len(found) > 50
    return found


def product(sources: list[Source]) -> list[Source]:
    """What is shipped."""
    return [source for source in sources if source.path.startswith(tuple(f"{package}/" for package in PACKAGES))]


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def calls(source: Source) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the last part of what is called."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node, node.func.id if isinstance(node.func, ast.Name) else node.func.attr


def test_no_file_is_longer_than_400_lines(sources: list[Source]) -> None:
    found = [f"{s.path}: {len(s.lines)} lines" for s in sources if len(s.lines) > LONGEST_FILE]
    assert not found, "\n".join(found)


def test_no_function_is_longer_than_60_lines(sources: list[Source]) -> None:
    """But for router/wire, with a comment `long: …` that says why."""
    found = [
        f"{s.path}:{f.lineno} {f.name}: {length} lines"
        for s in sources
        for f in functions(s)
        if (length := (f.end_lineno or 0) - f.lineno + 1) > LONGEST_FUNCTION
        and not (s.path.startswith("router/wire/") and s.says("long:", f.lineno))
    ]
    assert not found, "\n".join(found)


def test_names_of_modules_say_what_is_in_them(sources: list[Source]) -> None:
    parts = {(s.path, part) for s in sources for part in Path(s.path).with_suffix("").parts}
    found = sorted(path for path, part in parts if part in DRAWERS)
    assert not found, "\n".join(found)


def test_no_module_bears_the_name_of_one_of_the_standard_library(sources: list[Source]) -> None:
    """`python router/queue.py` would put router/ first on the path, and break the library's own imports."""
    found = [s.path for s in product(sources) if Path(s.path).stem in sys.stdlib_module_names]
    assert not found, "\n".join(found)


def test_every_module_says_what_it_is(sources: list[Source]) -> None:
    wanting = [s.path for s in sources if s.text.strip() and not ast.get_docstring(s.tree)]
    assert not wanting, "\n".join(wanting)


def test_nothing_happens_at_import(sources: list[Source]) -> None:
    found = [
        f"{s.path}:{node.lineno}"
        for s in product(sources)
        for node in s.tree.body
        if not isinstance(node, AT_IMPORT) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    found = [place for place in found if not place.partition(":")[0].endswith("__main__.py")]
    assert not found, "\n".join(found)


def test_nothing_is_left_for_later_in_a_comment() -> None:
    mark = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")))
    text_files = (path for path in files() if path.endswith((".py", ".md", ".yaml", ".toml", ".lua", "Makefile", "run", "check")))
    found = [path for path in text_files if re.search(rf"\b(?:{mark.pattern})\b", (ROOT / path).read_text())]
    assert not found, "\n".join(found)


def _broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return caught is None or any(isinstance(name, ast.Name) and name.id in ("Exception", "BaseException") for name in names)


def test_only_what_can_be_acted_on_is_caught(sources: list[Source]) -> None:
    """A handler that raises again may see everything; others are on the list above, with a reason."""
    found = {
        s.path
        for s in product(sources)
        for node in ast.walk(s.tree)
        if isinstance(node, ast.ExceptHandler) and _broad(node) and not any(isinstance(n, ast.Raise) for n in node.body)
    }
    assert found == set(BROAD_EXCEPTS)


def test_every_queue_has_a_bound(sources: list[Source]) -> None:
    """`Queue(n)`, `deque(maxlen=n)`, or a comment with the word `bounded` that says by what."""
    unbounded = []
    for source in product(sources):
        for call, name in calls(source):
            given = {keyword.arg for keyword in call.keywords}
            queue = name in ("Queue", "LifoQueue", "PriorityQueue") and not call.args and "maxsize" not in given
            deque = name == "deque" and len(call.args) < 2 and "maxlen" not in given
            if (queue or deque or name == "SimpleQueue") and not source.says("bounded", call.lineno):
                unbounded.append(f"{source.path}:{call.lineno} {name}")
    assert not unbounded, "\n".join(unbounded)


def test_every_test_can_fail(sources: list[Source]) -> None:
    """It asserts, expects an exception, or calls something in tests/ that does."""
    tests = [s for s in sources if s.path.startswith("tests/")]
    asserting = {f.name for s in tests for f in functions(s) if _asserts(f, set())}
    for _ in range(3):  # helpers of helpers of helpers
        asserting |= {f.name for s in tests for f in functions(s) if not f.name.startswith("test_") and _asserts(f, asserting)}
    cannot = [
        f"{s.path}:{f.lineno} {f.name}" for s in tests for f in functions(s) if f.name.startswith("test_") and not _asserts(f, asserting)
    ]
    assert not cannot, "\n".join(cannot)


def _asserts(function: ast.AST, asserting: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in ("raises", "warns", "fail", "run_state_machine_as_test") or (name in asserting and not name.startswith("test_")):
                return True
    return False


def test_tests_wait_for_events_and_use_no_mocks_of_our_own(sources: list[Source]) -> None:
    mocks = re.compile(r"unittest\.mock|MagicMock|mocker\.|monkeypatch\.setattr\(\s*(?:stoker|router|scheduler|worker|model_variants)\b")
    assert [
        s.path for s in sources if s.path.startswith("tests/") and s.path != "tests/structure/test_house.py" and mocks.search(s.text)
    ] == []
