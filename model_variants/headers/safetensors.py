"""Weights in safetensors: exact bytes and parameters from the headers (8 bytes length, little endian, then JSON)."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from model_variants.headers.bounded import UnreadableModel, read_at_most

HEADER_LIMIT = 8 * 2**20
INDEX_LIMIT = 24 * 2**20
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors$")


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class _Metadata(msgspec.Struct, frozen=True):
    total_size: int | float = 0
    total_parameters: int | float = 0


class _Index(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()


class Weights(msgspec.Struct, frozen=True):
    """`dtype` is that of most bytes, in the header's own word (BF16); `parameters` is too small for packed 4-bit weights."""

    bytes: int
    parameters: int | None = None
    dtype: str | None = None


def read_weights(folder: Path, names: list[str]) -> Weights:
    """Weights of the *.safetensors among `names`. Raises UnreadableModel for missing shards and broken headers.

    1. an index that gives the size is believed if the shards are all there and large enough: no header is read
    2. else the headers are added up
    """
    files = sorted(name for name in names if name.endswith(".safetensors"))
    _all_shards_present(files)
    index = folder / "model.safetensors.index.json"
    if index.name in names:
        found = _from_index(index)
        if found.bytes and found.bytes <= sum((folder / name).stat().st_size for name in files):
            return found
    return _sum([read_header(folder / name) for name in files])


def read_header(path: Path) -> Weights:
    """One file's weights from its header alone."""
    with path.open("rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise UnreadableModel(f"{path.name} is truncated: its header would be {length} bytes in a file of {size}")
        if length > HEADER_LIMIT:
            raise UnreadableModel(f"{path.name} has a header of {length} bytes; at most {HEADER_LIMIT} are read")
        data = file.read(length)
    try:
        raw = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        tensors = [msgspec.json.decode(tensor, type=_Tensor) for tensor in raw.values()]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableModel(f"{path.name} has a broken header: {str(error)[:120]}") from None
    return _add_up(path.name, tensors, room=size - 8 - length)


def _add_up(name: str, tensors: list[_Tensor], *, room: int) -> Weights:
    by_dtype: dict[str, int] = {}
    parameters = 0
    for tensor in tensors:
        start, end = tensor.data_offsets
        if not 0 <= start <= end <= room or len(tensor.shape) > 16:
            raise UnreadableModel(f"{name} is truncated or corrupt: a tensor ends at byte {end} of {room}")
        count = 1
        for side in tensor.shape:
            if side < 0:
                raise UnreadableModel(f"{name} is corrupt: a tensor has a negative side")
            count *= side
        parameters += count
        by_dtype[tensor.dtype] = by_dtype.get(tensor.dtype, 0) + end - start
    total = sum(by_dtype.values())
    if total > room:
        raise UnreadableModel(f"{name} is corrupt: its tensors overlap")
    return Weights(total, parameters or None, max(by_dtype, key=lambda word: by_dtype[word])[:16] if by_dtype else None)


def _from_index(path: Path) -> Weights:
    try:
        metadata = msgspec.json.decode(read_at_most(path, INDEX_LIMIT), type=_Index).metadata
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableModel(f"{path.name} is no valid index: {str(error)[:120]}") from None
    size, parameters = metadata.total_size, metadata.total_parameters
    if not 0 <= size < 2**53 or not 0 <= parameters < 2**53:
        raise UnreadableModel(f"{path.name} gives an impossible size")
    return Weights(int(size), int(parameters) or None)


def _all_shards_present(files: list[str]) -> None:
    for name in files:
        match = _SHARD.match(name)
        if not match:
            continue
        count, stem = int(match["count"]), match["stem"]
        present = sum(1 for other in files if other.startswith(f"{stem}-") and other.endswith(f"-of-{match['count']}.safetensors"))
        if present < count:
            raise UnreadableModel(f"only {present} of {count} shards of {stem} are there; the download is incomplete")
        return


def _sum(parts: list[Weights]) -> Weights:
    parameters = sum(part.parameters or 0 for part in parts)
    largest = max(parts, key=lambda part: part.bytes, default=Weights(0))
    return Weights(sum(part.bytes for part in parts), parameters or None, largest.dtype)
