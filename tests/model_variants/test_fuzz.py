"""The readers of headers under damaged files: facts or a sentence, never a crash, and never much time or memory.

STOKER_FUZZ_INPUTS says how many for each of the three; 340,000 unless said, so that they are a million together.
"""

from __future__ import annotations

import json
import os
import random
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_variants.headers import gguf
from model_variants.headers.bounded import UnreadableModel
from model_variants.headers.config import read_config
from model_variants.headers.safetensors import read_header
from tests.support.mutation import damaged
from tests.support.tiny_models import LLAMA_CONFIG, gguf_file, safetensors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

INPUTS = int(os.environ.get("STOKER_FUZZ_INPUTS", "340000"))
CPU_SECONDS = 0.1
MEMORY = 64 * 2**20


def seeds(kind: str, folder: Path) -> list[bytes]:
    """Right files to begin with."""
    if kind == "gguf":
        return [gguf_file(folder / "seed.gguf").read_bytes()]
    if kind == "safetensors":
        safetensors(folder / "seed.safetensors", {"a": ("BF16", [64, 64]), "b": ("F32", [8])})
        huge = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
        return [(folder / "seed.safetensors").read_bytes(), struct.pack("<Q", len(huge)) + huge]
    inside = {"text_config": LLAMA_CONFIG, "vision_config": {}, "quantization_config": {"quant_method": "awq"}}
    return [json.dumps(LLAMA_CONFIG).encode(), json.dumps(inside).encode(), b'{"rope_scaling": Infinity, "hidden_size": 1e9}']


@pytest.mark.parametrize(("kind", "read"), [("safetensors", read_header), ("gguf", gguf.read_header), ("config", read_config)])
def test_damaged_headers(kind: str, read: Callable[[Path], Any]) -> None:
    source, refused, slowest = random.Random(kind), 0, 0.0
    memory_place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory_place if memory_place.is_dir() else None) as place:
        rights, path = seeds(kind, Path(place)), Path(place) / f"x.{kind}"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(INPUTS):
            content = damaged(source.choice(rights), source)
            path.write_bytes(content)
            began = time.process_time()
            try:
                read(path)
            except UnreadableModel as error:
                refused += 3 < len(str(error)) < 400
            except Exception as error:
                raise AssertionError(f"input {number}: {error!r} for {content!r}") from error
            spent = time.process_time() - began
            slowest = max(slowest, spent)
            assert spent < CPU_SECONDS, f"input {number} took {spent:.3f} s: {content!r}"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(f"{kind}: {INPUTS} inputs, {refused} refused, slowest {slowest * 1000:.1f} ms CPU, {grown >> 20} MiB more at most")
    assert grown < MEMORY
    assert INPUTS // 20 < refused < INPUTS, "the damage must be such that some is seen and some is harmless"
