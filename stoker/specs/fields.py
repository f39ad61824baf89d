"""The types of single fields: what YAML or JSON may give, what it becomes inside, and how it is written back.

Every check raises ValueError with a sentence that says what to write instead. Inside: CPU in millicores, sizes in bytes,
GPUs in hundredths, durations in seconds. Written back: the shortest text or number that means exactly the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator

from stoker.resources import MAX_DURATION, parse_cpu, parse_duration, parse_gpu, parse_size, write_number, write_size

MAX_TEXT = 4096
MAX_LIST = 256
MAX_REPLICAS = 1000
LEAST_SIZE = 2**20

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?")
_SECRET = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_URL_PATH = re.compile(r"/[^\s?#]*")
_PROBE_PATH = re.compile(r"/[^\s#]*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.*:\[\]-]+")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,99}")
"""What a YAML list may hold unquoted, as text."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_LINE_BREAKING = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")


class Part(BaseModel):
    """A block of a document: frozen, unknown fields refused, `null` means the default but where a field says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    keeps_null: ClassVar[frozenset[str]] = frozenset()
    """Fields in which `null` is a value of its own."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, data: object) -> object:
        if not isinstance(data, dict):
            raise ValueError(f"must be a block of fields, as in {{name: value}}, not {kind_of(data)}")
        return {key: value for key, value in data.items() if value is not None or key in cls.keeps_null}


def text(value: object) -> str:
    """Text of any length up to MAX_TEXT, line breaks allowed; numbers and true/false are not text."""
    if not isinstance(value, str):
        cure = "; quote it" if isinstance(value, bool | int | float) else ""
        raise ValueError(f"must be text, not {kind_of(value)}{cure}")
    if len(value) > 16 * MAX_TEXT:
        raise ValueError(f"is longer than {16 * MAX_TEXT} characters")
    if _UNPRINTABLE.search(value):
        raise ValueError("contains a control character")
    return value


def line(value: object) -> str:
    """One line of text, neither empty nor longer than MAX_TEXT."""
    found = text(value)
    if not found.strip() or len(found) > MAX_TEXT:
        raise ValueError("is empty" if not found.strip() else f"is longer than {MAX_TEXT} characters")
    if _LINE_BREAKING.search(found):
        raise ValueError("must be one line of text, without line breaks or control characters")
    return found


def kind_of(value: object) -> str:
    """What a YAML value is called in a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {dict: "a block", list: "a list", tuple: "a list", str: "text"}
    return names.get(type(value), "a number")


def matching(pattern: re.Pattern[str], sentence: str) -> Callable[[object], str]:
    """A check that the whole line of text fits `pattern`; `sentence` says what to write."""

    def check(value: object) -> str:
        found = line(value)
        if not pattern.fullmatch(found):
            raise ValueError(sentence)
        return found

    return check


def whole(least: int, most: int) -> Callable[[object], int]:
    """A check for a whole number in a closed range."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number from {least} to {most}, not {kind_of(value)}")
        if not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(value)

    return check


def seconds(least: float, most: float = MAX_DURATION) -> Callable[[object], float]:
    """A check for a duration in a closed range of seconds."""

    def check(value: object) -> float:
        found = parse_duration(value)
        if not least <= found <= most:
            raise ValueError(f"must be from {least:g} seconds to {f'{most:g}' if most < MAX_DURATION else 'a year'}")
        return found

    return check


def at_least_a_mebibyte(value: object) -> int:
    """Bytes; a bare `16` is refused, since nobody means 16 bytes."""
    size = parse_size(value)
    if size < LEAST_SIZE:
        raise ValueError(f"is {size} bytes, and less than 1MiB is refused; write a unit, as in 16GiB")
    return size


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, without quotes, not {kind_of(value)}")
    return value


def listed(check: Callable[[object], Any], *, most: int = MAX_LIST) -> Callable[[object], Any]:
    """A check for a list. Gives a tuple."""

    def read(value: object) -> Any:
        if isinstance(value, str) and _PLAIN.fullmatch(value):
            raise ValueError(f"must be a list, not text; write [{value}]")
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, as in [one, two], not {kind_of(value)}")
        if len(value) > most:
            raise ValueError(f"has more than {most} entries")
        return tuple(at(index, check, entry) for index, entry in enumerate(value))

    return read


def mapped(key: Callable[[object], str], check: Callable[[object], Any], *, most: int = MAX_LIST) -> Callable[[object], Any]:
    """A check for a mapping of names to values."""

    def read(value: object) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"must be a mapping of names to values, as in {{name: value}}, not {kind_of(value)}")
        if len(value) > most:
            raise ValueError(f"has more than {most} entries")
        return {at(name, key, name): at(name, check, entry) for name, entry in value.items()}

    return read


class Deeper(ValueError):
    """Something is wrong below the field that is being checked; `path` leads from the field to it."""

    def __init__(self, path: tuple[str | int, ...], sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


def at(step: object, check: Callable[[object], Any], value: object) -> Any:
    """`check(value)`, remembering under which key or index it failed."""
    place = step if isinstance(step, int) and not isinstance(step, bool) else str(step)
    try:
        return check(value)
    except Deeper as error:
        raise Deeper((place, *error.path), str(error)) from None
    except ValueError as error:
        raise Deeper((place,), str(error)) from None


def absolute_path(value: object) -> str:
    """An absolute path without `..`, in its shortest spelling."""
    found = line(value)
    if not found.startswith("/"):
        raise ValueError("must be an absolute path, beginning with /")
    parts = [part for part in found.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError("must be a path without `..`; write where it leads")
    return "/" + "/".join(parts)


def url_path(value: object) -> str:
    """A path of an HTTP request, without query."""
    found = line(value)
    if not _URL_PATH.fullmatch(found):
        raise ValueError("must be a path that begins with /, without spaces, ? and #")
    return found


def probe_path(value: object) -> str:
    """A path that is asked, with a query where wanted."""
    found = line(value)
    if not _PROBE_PATH.fullmatch(found):
        raise ValueError("must be a path that begins with /, without spaces and #")
    return found


def origin(value: object) -> str:
    """An origin as browsers send it, or `*`."""
    found = line(value)
    if found != "*" and not _ORIGIN.fullmatch(found):
        raise ValueError("must be an origin such as https://chat.example.org, or *")
    return found


def number(value: object) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"must be a number, not {kind_of(value)}")
    return float(value)


def positive(value: object) -> float:
    """A finite number above 0."""
    found = number(value)
    if found <= 0:
        raise ValueError("must be a number above 0")
    return found


def body_limit(value: object) -> int:
    """Bytes of one request's body, from 1KiB to 4GiB."""
    size = parse_size(value)
    if not 2**10 <= size <= 2**32:
        raise ValueError("must be a size from 1KiB to 4GiB")
    return size


name = matching(_NAME, "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit")
label_key = matching(_LABEL, "must be a label's name: letters, digits, and . _ / - inside")
secret_name = matching(_SECRET, "must be a secret's name: letters, digits, and . _ - inside")

Name = Annotated[str, BeforeValidator(name)]
Line = Annotated[str, BeforeValidator(line)]
Flag = Annotated[bool, BeforeValidator(flag)]
Path = Annotated[str, BeforeValidator(absolute_path)]
Lines = Annotated[tuple[str, ...], BeforeValidator(listed(line))]
Argv = Annotated[tuple[str, ...], BeforeValidator(listed(text, most=1024))]
Labels = Annotated[dict[str, str], BeforeValidator(mapped(label_key, line, most=64))]
Size = Annotated[int, BeforeValidator(at_least_a_mebibyte), PlainSerializer(write_size)]
Cpu = Annotated[int, BeforeValidator(parse_cpu), PlainSerializer(lambda millis: write_number(millis / 1000))]
GpuShare = Annotated[int, BeforeValidator(parse_gpu), PlainSerializer(lambda share: write_number(share / 100))]
Seconds = Annotated[float, BeforeValidator(seconds(0)), PlainSerializer(write_number)]
SomeSeconds = Annotated[float, BeforeValidator(seconds(0.05)), PlainSerializer(write_number)]
