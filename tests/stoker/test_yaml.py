"""Strict YAML: what is doubtful is refused with its line and field, and nothing but InvalidSpec ever comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stoker.errors import InvalidSpec
from stoker.specs import Document, parse_documents, parse_json
from stoker.specs.strict_yaml import MAX_BYTES, load

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "service.example.yaml"
HEAD = "name: x\nmodel: demo\n"


def refusal(text: str | bytes) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        parse_documents(text)
    assert "\n" not in caught.value.message and len(caught.value.message) < 500
    return caught.value


@pytest.mark.parametrize(
    ("text", "param", "line", "words"),
    [
        (HEAD + "labels: &a {x: y}\n", "labels", 3, "anchor (&a)"),
        (HEAD + "env:\n  A: &deep b\n", "env.A", 4, "anchor (&deep)"),
        (HEAD + "labels: *a\n", "labels", 3, "alias (*a)"),
        (HEAD + "mounts:\n- {source: /a, target: /b}\n- {source: /c, target: *a}\n", "mounts[1].target", 5, "alias"),
        ("name: x\nmodel: !!str demo\n", "model", 2, "tag"),
        ("name: x\nmodel: !!python/object/apply:os.system [ls]\n", "model", 2, "tag"),
        ("!service\nname: x\n", None, 1, "tag"),
        (HEAD + "env:\n  <<: {A: b}\n", "env", 4, "merge"),
        (HEAD + "name: y\n", "name", 3, "given twice, first in line 1"),
        (HEAD + "env:\n  A: b\n  B: c\n  A: d\n", "env.A", 6, "given twice, first in line 4"),
        (HEAD + "? [a, b]\n: c\n", None, 3, "names are text"),
        (HEAD + "1: c\n", None, 3, "quote it"),
        (HEAD + "true: c\n", None, 3, "quote it"),
        (HEAD + "null: c\n", None, 3, "quote it"),
        (HEAD + "options: {a: .inf}\n", "options.a", 3, "finite"),
        (HEAD + "options: {a: .nan}\n", "options.a", 3, "finite"),
        (HEAD + "options: {a: 1e999}\n", "options.a", 3, "too large"),
        (HEAD + f"priority: {'9' * 5000}\n", "priority", 3, "digits"),
        (HEAD + f"options: {{a: 0x{'f' * 5000}}}\n", "options.a", 3, "digits"),
        (HEAD + "options: " + "[" * 40 + "]" * 40, None, 3, "deeper than 32"),
        ("[" * 100_000, None, 1, "deeper than 32"),
        ("{a: " * 50_000, None, 1, "deeper than 32"),
        (HEAD + "args: [" + "a, " * 20_001 + "]", None, 3, "20000 values"),
        ("name: x\n\tmodel: demo\n", None, 2, "not valid YAML"),
        ("name: x\nmodel: 'demo\n", None, 3, "not valid YAML"),
        ("name: x\nmodel: demo: y\n", None, 2, "not valid YAML"),
        ("name: x\nmodel: 'a\x07b'\n", None, 2, "character"),
        ("é: é\nname: x\nmodel: '\x01'\n", None, 3, "character"),
        ('name: x\nmodel: "a\\0b"\n', "model", 2, "control character"),
        ("name: x\nmodel: \ud800\n", None, None, "surrogate"),
        (b"name: x\nmodel: \xff\xfe\n", None, 2, "not UTF-8"),
        ("a" * (MAX_BYTES + 1), None, None, "larger than 256 KiB"),
        ("é" * (MAX_BYTES // 2 + 1), None, None, "larger than 256 KiB"),
        ("", None, None, "no document"),
        ("---\n---\n", None, None, "no document"),
        ("# only a comment\n", None, None, "no document"),
        ("- a\n", None, 1, "mapping of fields"),
        ("just text\n", None, 1, "mapping of fields"),
    ],
)
def test_what_is_doubtful_is_refused(text: str | bytes, param: str | None, line: int | None, words: str) -> None:
    error = refusal(text)
    assert (error.param, error.line) == (param, line)
    assert words in error.message
    if line:
        assert error.message.startswith(f"line {line}: ")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("yes", "yes"), ("off", "off"), ("True", True), ("~", None), ("", None), ("12:30", "12:30"), ("0777", 777), ("0o17", 15)],
        *[("0x1F", 31), ("1_000", "1_000"), ("2026-01-01", "2026-01-01"), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("'1'", "1")],
        *[("-7", -7), ("+7", 7), ("=", "="), ("0b1", "0b1"), ("1.2.3", "1.2.3"), ("|\n  text\n", "text\n"), ('"\\u00e9"', "é")],
    ],
)
def test_plain_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    [document] = load(f"a: {text}")
    found = document.value["a"]
    assert found == value and type(found) is type(value)


def test_numbers_in_env_stay_as_they_were_written() -> None:
    [document] = parse_documents(HEAD + "env: {A: 1.10, B: 0777, C: 1e3, D: 0x10, E: 007}\n")
    assert document.spec.to_json()["env"] == {"A": "1.10", "B": "0777", "C": "1e3", "D": "0x10", "E": "007"}


def test_lines_count_through_the_documents_of_a_file() -> None:
    [first, second] = parse_documents("# hello\nname: x\nmodel: demo\n---\n\nname: y\nmodel: demo\n")
    assert (first.line, second.line) == (2, 6)
    assert refusal("name: x\nmodel: demo\n---\nname: y\nmodel: demo\nport: 0\n").line == 6


def test_one_name_may_be_there_once_per_kind() -> None:
    assert refusal(HEAD + "---\n" + HEAD).message == "line 4: the service x is there twice, first in line 1"
    assert len(parse_documents(HEAD + "---\nkind: project\nname: x\n")) == 2


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    assert parse_documents(b"\xef\xbb\xbfname: x\r\nmodel: demo\r\n")[0].name == "x"


def test_32_levels_are_fine() -> None:
    deep = HEAD + "options: {a: " + "[" * 30 + "]" * 30 + "}"
    assert parse_documents(deep)[0].name == "x"
    assert refusal(deep.replace("[]", "[[]]")).message.endswith("deeper than 32 levels")


def test_json_is_taken_as_well_even_with_its_own_escapes() -> None:
    text = json.dumps({"name": "x", "model": "demo", "labels": {"mood": "😀"}})
    assert "\\ud83d" in text
    assert parse_documents(text) == [parse_json(text)]
    assert parse_json(text.encode()).spec.to_json()["labels"] == {"mood": "😀"}


@pytest.mark.parametrize(
    ("text", "param", "words"),
    [
        ('{"name": "x", "model": "demo", "port": 0}', "port", "65535"),
        ('{"name": "x", "name": "y"}', None, "given twice"),
        ('{"name": "x", "model": "demo", "options": {"a": NaN}}', None, "NaN"),
        ('{"name": "x", "model": "demo", "options": {"a": 1e999}}', "options.a", "finite"),
        ('{"name": "x", "model": "demo", "priority": ' + "9" * 5000 + "}", None, "digits"),
        ('{"a":' * 40 + "1" + "}" * 40, None, "deeper than 32"),
        ("[" * 100_000, None, "deeply"),
        ('{"name": "x", "model": "\\ud800"}', "model", "control"),
        ('{"name": "x", "model": "demo", "args": [' + "1," * 20_001 + "1]}", None, "20000"),
        ("{", None, "not valid JSON"),
        ("[]", None, "mapping of fields"),
        (b"\xff", None, "UTF-8"),
        ('"' + "a" * MAX_BYTES + '"', None, "larger"),
    ],
)
def test_json_goes_through_the_same_checks(text: str | bytes, param: str | None, words: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_json(text)
    assert caught.value.param == param and words in caught.value.message


def outcome(text: str | bytes) -> list[Document] | InvalidSpec:
    try:
        return parse_documents(text)
    except InvalidSpec as error:
        return error


def survives(text: str | bytes) -> None:
    """What the properties below insist on: specs that are written back as they were read, or one sentence."""
    found = outcome(text)
    if isinstance(found, InvalidSpec):
        assert found.message.isprintable() and (found.param or "").isprintable()
        assert 0 < len(found.message.encode()) < 2000
        assert found.line is None or found.line >= 1
        return
    assert found
    for document in found:
        assert type(document.spec).from_json(document.spec.to_json()) == document.spec


FIELDS = [
    "kind",
    "name",
    "project",
    "labels",
    "model",
    "model_name",
    "variant",
    "options",
    "args",
    "command",
    "env",
    "resources",
    "replicas",
]
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["demo", "x", "16GiB", "5m", "project"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=4)
)
documents = st.dictionaries(
    st.sampled_from([*FIELDS, "health_check", "routing", "rollout", "placement", "quota", "weight"]), values, max_size=6
)
yaml_pieces = st.lists(
    st.sampled_from([*"{}[]:,-?&*!|>'\"%@`#~ \n\t\\=<é", "name", "model", "env", ": ", "- ", "\n  ", "---\n", "<<", "\x00", "0x", ".inf"])
)
quiet = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quiet
@given(st.binary(max_size=300))
def test_any_bytes_give_specs_or_a_sentence(data: bytes) -> None:
    survives(data)


@quiet
@example("? ")
@example("%YAML 9.9\n---\na")
@example("---\n...\n%")
@given(st.text(max_size=200) | yaml_pieces.map("".join))
def test_any_text_gives_specs_or_a_sentence(text: str) -> None:
    survives(text)


@quiet
@given(documents)
def test_any_values_give_specs_or_a_sentence(value: dict[str, object]) -> None:
    survives(yaml.safe_dump({"name": "x", "model": "demo", **value}))
    survives(json.dumps({"name": "x", "model": "demo", **value}))


@quiet
@given(st.data())
def test_the_example_with_a_character_changed_gives_specs_or_a_sentence(data: st.DataObject) -> None:
    text = EXAMPLE.read_text()
    place = data.draw(st.integers(0, len(text) - 1))
    survives(text[:place] + data.draw(st.text(max_size=3)) + text[place + data.draw(st.integers(0, 3)) :])
