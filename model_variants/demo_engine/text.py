"""The text that is learnt: paragraphs of prose from plain text and Markdown, without tables, code and markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import stoker

BYTES_LIMIT = 4 * 2**20
FILES_LIMIT = 2000
_SUFFIXES = (".txt", ".md", ".rst")
_FENCE = re.compile(r"^(```|~~~)")
_NO_PROSE = re.compile(r"^\s*(\||#|>|<!--|[-=*_]{3,}\s*$|\$ |[│┌└├─▲▼◀▶])")
_LIST = re.compile(r"^\s*([-*+]|\d+[.)])\s+")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"\*\*|__|`")
_FEWEST_WORDS = 5


class NoText(Exception):
    """There is nothing to learn from; the message says where it was looked for."""


def own_documentation() -> list[Path]:
    """Stoker's pages: inside the package where it was installed, else beside it in a source tree."""
    package = Path(stoker.__file__).parent
    inside, beside = package / "docs", package.parent / "docs"
    if inside.is_dir():
        return _files(inside)
    readme = package.parent / "README.md"
    return [path for path in (readme, *(_files(beside) if beside.is_dir() else ())) if path.is_file()]


def read_paragraphs(folder: str | None) -> tuple[list[str], str]:
    """Paragraphs and a word for where they come from. Raises NoText."""
    files = _files(Path(folder)) if folder else own_documentation()
    origin = f"the text in {Path(folder).name}" if folder else "Stoker's own documentation"
    room, found = BYTES_LIMIT, list[str]()
    for path in files:
        with path.open("rb") as file:
            data = file.read(room)
        room -= len(data)
        found += paragraphs(data.decode(errors="replace"))
        if room <= 0:
            break
    if not found:
        raise NoText(f"there is no prose to learn from in {folder or 'the documentation of this installation'}; give --text FOLDER")
    return found, origin


def paragraphs(text: str) -> Iterator[str]:
    """Each paragraph as one line; a list's items are paragraphs of their own; fragments of a few words are dropped."""
    lines: list[str] = []
    fenced = False
    for line in [*text.replace("\r\n", "\n").split("\n"), ""]:
        fence = bool(_FENCE.match(line.strip()))
        fenced ^= fence
        skipped = fence or fenced or bool(_NO_PROSE.match(line)) or line.startswith("    ")
        if skipped or not line.strip() or _LIST.match(line):
            yield from _finished(lines)
            lines = []
        if not skipped and line.strip():
            lines.append(_LIST.sub("", line).strip())
    yield from _finished(lines)


def _finished(lines: list[str]) -> Iterator[str]:
    words = _MARKS.sub("", _LINK.sub(r"\1", " ".join(lines))).split()
    if len(words) >= _FEWEST_WORDS:
        yield " ".join(words)


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()]
    return sorted(found)[:FILES_LIMIT]
