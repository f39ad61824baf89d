"""YAML without surprises: text in, plain values and the line of every one of them out. Anything doubtful is refused.

Three passes over one document stream. 1. Size and encoding. 2. Events: aliases, anchors, tags, depth and number of nodes,
before anything is built. 3. Nodes to values by the core schema of YAML 1.2: only true and false are booleans (yes, no, on,
off are text), 0777 and 12:30 are not what YAML 1.1 makes of them, dates stay text; duplicate and non-text keys are refused.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from stoker.errors import InvalidSpec
from stoker.specs.complaints import Steps, path_of, printable
from stoker.specs.root import MAX_DEPTH, MAX_DIGITS, MAX_NODES

MAX_BYTES = 256 * 1024
MAX_FLOAT = 40

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class Loaded(NamedTuple):
    """One document: its value, and the line (from 1) of every field by its path."""

    value: Any
    lines: dict[Steps, int]


def load(text: str | bytes) -> list[Loaded]:
    """The documents of a stream that are not empty. Raises InvalidSpec with a line where there is one."""
    source = _decoded(text)
    try:
        _check_events(source)
        nodes = [node for node in yaml.compose_all(source, Loader=yaml.CSafeLoader) if node is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise _refused(f"is not valid YAML: {error.problem or error.context}", line) from None
    except yaml.reader.ReaderError as error:
        line = source.encode().count(b"\n", 0, max(0, error.position)) + 1
        raise _refused("contains a character that YAML does not allow", line) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _refused(f"is not valid YAML: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}", None) from None
    return [document for node in nodes if (document := _document(node)).value is not None]


def _refused(sentence: str, line: int | None, steps: Steps = ()) -> InvalidSpec:
    place = f"line {line}: " if line is not None else ""
    return InvalidSpec(f"{place}{path_of(steps) or 'the document'} {printable(sentence)}", param=path_of(steps) or None, line=line)


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        try:
            text = text.encode()
        except UnicodeEncodeError:
            raise _refused("contains a lone surrogate, which is no character", None) from None
    if len(text) > MAX_BYTES:
        raise _refused(f"is larger than {MAX_BYTES // 1024} KiB", None)
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused("is not UTF-8 text", text.count(b"\n", 0, error.start) + 1) from None


class _Frame:
    """An open list or block while events pass: `key` is the index or name of the entry that is being read."""

    def __init__(self, mapping: bool) -> None:
        self.mapping = mapping
        self.at_key = False
        self.key: str | int = -1

    def advance(self, event: yaml.NodeEvent) -> None:
        """The next node in it is `event`: an entry of a list, or by turns the name and the value of a field."""
        if isinstance(self.key, int) and not self.mapping:
            self.key += 1
            return
        self.at_key = not self.at_key
        if self.at_key:
            self.key = str(getattr(event, "value", "?"))


def _check_events(source: str) -> None:
    """Refuse what a document may not contain, before anything is built from it."""
    frames: list[_Frame] = []
    nodes = 0
    for event in yaml.parse(source, Loader=yaml.CSafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if frames:
                frames[-1].advance(event)
            steps = tuple(frame.key for frame in frames if not frame.at_key or frame is not frames[-1])
            _check_node(event, line, steps)
            if nodes > MAX_NODES:
                raise _refused(f"has more than {MAX_NODES} values", line)
        if isinstance(event, yaml.CollectionStartEvent):
            frames.append(_Frame(isinstance(event, yaml.MappingStartEvent)))
            if len(frames) > MAX_DEPTH:
                raise _refused(f"is nested deeper than {MAX_DEPTH} levels", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            frames.pop()


def _check_node(event: yaml.NodeEvent, line: int | None, steps: Steps) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise _refused(f"has an alias (*{str(event.anchor)[:40]}), and aliases are refused; write the value out", line, steps)
    if event.anchor:
        raise _refused(f"has an anchor (&{event.anchor[:40]}), and anchors are refused", line, steps)
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise _refused(f"has a tag ({tag[:40]}), and tags are refused", line, steps)


def _document(root: yaml.Node) -> Loaded:
    lines: dict[Steps, int] = {}
    return Loaded(_value(root, (), lines), lines)


def _value(node: yaml.Node, steps: Steps, lines: dict[Steps, int]) -> Any:
    lines.setdefault(steps, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, steps, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_value(entry, (*steps, index), lines) for index, entry in enumerate(node.value)]
    text = str(node.value)
    return _scalar(text, steps, node.start_mark.line + 1) if _is_plain(node) else text


def _is_plain(node: yaml.Node) -> bool:
    """Written without quotes, so that it may be a number, a boolean or null."""
    return getattr(node, "style", None) in (None, "")


def _mapping(node: yaml.MappingNode, steps: Steps, lines: dict[Steps, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise _refused("has a list or a block as the name of a field; names are text", line, steps)
        key = key_node.value
        plain = _is_plain(key_node)
        if plain and key == "<<":
            raise _refused("has a merge key (<<), and merge keys are refused; write the fields out", line, steps)
        if plain and not isinstance(_scalar(key, steps, line), str):
            raise _refused(f"has {key[:40] or 'nothing'} as the name of a field; names are text, so quote it", line, steps)
        if key in found:
            raise _refused(f"is given twice, first in line {lines[(*steps, key)]}", line, (*steps, key))
        lines[(*steps, key)] = line
        found[key] = _value(value_node, (*steps, key), lines)
    return found


def _scalar(text: str, steps: Steps, line: int) -> Any:
    """A plain scalar by the core schema. Numbers under `env` stay as they were written: 1.10 is not 1.1."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _NOT_FINITE.fullmatch(text):
        raise _refused(f"is {text}, and only finite numbers are taken", line, steps)
    if not (_INT.fullmatch(text) or _FLOAT.fullmatch(text)):
        return text
    if len(steps) == 2 and steps[0] == "env":
        return text
    if len(text) > (MAX_DIGITS if _INT.fullmatch(text) else MAX_FLOAT):
        raise _refused(f"is a number of more than {MAX_DIGITS} digits; quote it if it is text", line, steps)
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _refused(f"is {text}, which is too large for a number", line, steps)
    return number
