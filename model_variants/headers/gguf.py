"""The header of a GGUF file: key-value pairs, then a list of tensors. Nothing is loaded; the map is only walked.

Layout (little endian): magic "GGUF", u32 version, u64 tensors, u64 pairs; a pair is a string key, u32 type, value;
a string is u64 length and bytes; an array is u32 type, u64 count, values; a tensor is a string name, u32 dimensions,
u64 each, u32 type, u64 offset. Tokenizer arrays make up most of it and are skipped.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from model_variants.headers.bounded import UnreadableModel

HEADER_LIMIT = 48 * 2**20
STRINGS_LIMIT = 1_200_000
PAIRS_LIMIT = 4096
TENSORS_LIMIT = 20_000
_TEXT_LIMIT = 65536
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

# ggml type: (weights per block, bytes per block)
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip

Value = int | float | str | list[int]


class GgufHeader:
    """`values` without the long arrays; `parameters` and `weight_bytes` of this file's tensors; `types` counts bytes by ggml type."""

    def __init__(self, values: dict[str, Value], parameters: int, types: dict[int, int]) -> None:
        self.values = values
        self.parameters = parameters
        self.types = types

    @property
    def weight_bytes(self) -> int:
        return sum(self.types.values())


def read_header(path: Path) -> GgufHeader:
    """Raises UnreadableModel where the file is no GGUF, is cut, or claims more than any model has."""
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < 24:
            raise UnreadableModel(f"{path.name} is too short for a GGUF file")
        with mmap.mmap(file.fileno(), min(size, HEADER_LIMIT), access=mmap.ACCESS_READ) as view:
            try:
                return _Walk(path.name, view, size).header()
            except (struct.error, IndexError, OverflowError, ValueError) as error:
                if isinstance(error, UnreadableModel):
                    raise
                raise UnreadableModel(f"{path.name} is cut or its header is larger than {HEADER_LIMIT} bytes") from None


class _Walk:
    def __init__(self, name: str, view: mmap.mmap, size: int) -> None:
        self.name = name
        self.view = view
        self.size = size
        self.at = 0
        self.strings = 0

    def header(self) -> GgufHeader:
        if self.view[:4] != b"GGUF":
            raise UnreadableModel(f"{self.name} does not begin with GGUF")
        self.at = 4
        version, tensors, pairs = self.number(4), self.number(10), self.number(10)
        if version not in (2, 3):
            raise UnreadableModel(f"{self.name} is GGUF version {version}; versions 2 and 3 are known")
        if pairs > PAIRS_LIMIT or tensors > TENSORS_LIMIT:
            raise UnreadableModel(f"{self.name} claims {pairs} keys and {tensors} tensors")
        values: dict[str, Value] = {}
        for _ in range(pairs):
            key = self.text(1024)
            value = self.value(self.number(4))
            if value is not None:
                values[key] = value
        parameters, types = 0, dict[int, int]()
        for _ in range(tensors):
            count, kind, length = self.tensor()
            parameters += count
            types[kind] = types.get(kind, 0) + length
        if sum(types.values()) > self.size:
            raise UnreadableModel(f"{self.name} is cut: its tensors need {sum(types.values())} bytes, the file has {self.size}")
        return GgufHeader(values, parameters, types)

    def number(self, kind: int) -> int:
        value = self.scalar(kind)
        return int(value)

    def scalar(self, kind: int) -> int | float:
        value: int | float = struct.unpack_from(_FORMATS[kind], self.view, self.at)[0]
        self.at += _SIZES[kind]
        return value

    def text(self, limit: int = _TEXT_LIMIT) -> str:
        """A string; beyond `limit` bytes only its beginning."""
        length = self.number(10)
        start, self.at = self.at, self.at + length
        if self.at > len(self.view):
            raise IndexError
        return self.view[start : start + min(length, limit)].decode(errors="replace")

    def value(self, kind: int) -> Value | None:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self.array()
        if kind not in _FORMATS:
            raise UnreadableModel(f"{self.name} has a value of unknown type {kind}")
        return self.scalar(kind)

    def array(self) -> Value | None:
        """Short arrays of numbers are kept (KV heads per layer), all others skipped."""
        kind, count = self.number(4), self.number(10)
        if kind == _STRING:
            self.skip_strings(count)
            return None
        if kind not in _SIZES:
            raise UnreadableModel(f"{self.name} has an array of unknown type {kind}")
        start, self.at = self.at, self.at + count * _SIZES[kind]
        if self.at > len(self.view):
            raise IndexError
        if count > 1024 or kind in (6, 12):
            return None
        return [int(n) for (n,) in struct.iter_unpack(_FORMATS[kind], self.view[start : self.at])]

    def skip_strings(self, count: int) -> None:
        self.strings += count
        if self.strings > STRINGS_LIMIT:
            raise UnreadableModel(f"{self.name} claims more than {STRINGS_LIMIT} strings")
        view, at, unpack = self.view, self.at, struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + unpack(view, at)[0]
        self.at = at

    def tensor(self) -> tuple[int, int, int]:
        """Its weights, its type, its bytes."""
        self.text(256)
        dimensions = self.number(4)
        if dimensions > 8:
            raise UnreadableModel(f"{self.name} has a tensor of {dimensions} dimensions")
        count = 1
        for _ in range(dimensions):
            count *= self.number(10)
        kind = self.number(4)
        self.number(10)
        if kind not in _BLOCKS or count >= 2**60:
            raise UnreadableModel(f"{self.name} has a tensor of unknown type {kind} or impossible size")
        per_block, length = _BLOCKS[kind]
        return count, kind, -(-count // per_block) * length
