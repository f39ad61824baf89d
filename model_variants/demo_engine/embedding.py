"""Deterministic embeddings: a hashed random projection of words, word pairs and letter triples, of length 1.

Texts that share words lie close together; that is all it knows, and it says so in /v1/models.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

DIMENSIONS = 256
_WORD = re.compile(r"\w+")
_TOUCHED = 8


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """`dimensions` numbers whose squares sum to 1."""
    vector = [0.0] * dimensions
    for feature, weight in _features(text.lower()):
        digest = hashlib.blake2b(feature.encode(errors="surrogatepass"), digest_size=4 * _TOUCHED).digest()
        for number in struct.unpack(f"<{_TOUCHED}I", digest):
            vector[(number >> 1) % dimensions] += weight if number & 1 else -weight
    length = math.sqrt(sum(x * x for x in vector))
    if length == 0.0:
        return [1.0] + [0.0] * (dimensions - 1)
    return [x / length for x in vector]


def as_base64(vector: list[float]) -> str:
    """32-bit floats, little endian, as OpenAI's clients ask for by default."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _features(text: str) -> Iterator[tuple[str, float]]:
    words = _WORD.findall(text)
    for word, count in Counter(words).items():
        yield f"w {word}", math.sqrt(count) * (0.3 if len(word) < 3 else 1.0)
        padded = f" {word} "
        for start in range(len(padded) - 2):
            yield f"t {padded[start : start + 3]}", 0.3
    for one, other in pairwise(words):
        yield f"p {one} {other}", 0.5
