"""Damaged copies of right files: what bad disks, cut downloads and people of bad will make of them."""

from __future__ import annotations

import random
import struct

_NUMBERS = (0, 1, 7, 8, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
_WORDS = (b"[" * 200, b'{"a":' * 100, b"1e999", b"-1", b"NaN", b'"' + b"x" * 300 + b'"', b"null", b"\xff\xfe", b"[]", b"{}", b"9" * 400)


def damaged(content: bytes, source: random.Random) -> bytes:
    """One to four changes: bytes, whole numbers of 4 or 8 bytes, pieces of JSON, pieces left out, doubled or moved, a cut end."""
    data = bytearray(content)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(data) + 1) if data else 0
        match source.randrange(7):
            case 0:
                data[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                data[at : at + 8] = struct.pack("<Q", source.choice(_NUMBERS))
            case 2:
                data[at : at + 4] = struct.pack("<I", source.choice(_NUMBERS) & 0xFFFFFFFF)
            case 3:
                data[at : at + source.randrange(4)] = source.choice(_WORDS)
            case 4:
                del data[at : at + source.randrange(64)]
            case 5:
                length = source.randrange(64)
                data[at:at] = data[at : at + length] * source.randint(1, 8)
            case _:
                del data[at:]
    return bytes(data)
