"""A tokenizer learnt from the text: whole words where they were seen, else the longest known pieces, else bytes.

Tokens are text with its leading space, so that joining them gives the text back exactly. Ids: 0 ends a paragraph, 1 to 256
are the bytes, the rest was learnt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

END = 0
_FIRST = 257
_WORD = re.compile(r" ?\w+| ?[^\w\s]|\s")
_PIECE_LENGTH = 4
_PIECES = 3000
_SEEN_OFTEN = 3


class Tokenizer:
    """`pieces[id]` is the token's text; text that is not UTF-8 by itself (a byte) is shown as the replacement character."""

    def __init__(self, words: Iterable[str]) -> None:
        self.pieces: list[str] = ["", *(chr(byte) if byte < 128 else "�" for byte in range(256)), *dict.fromkeys(words)]
        self.ids: dict[str, int] = {piece: _FIRST + at for at, piece in enumerate(self.pieces[_FIRST:])}

    def __len__(self) -> int:
        return len(self.pieces)

    @classmethod
    def learn(cls, paragraphs: list[str]) -> Tokenizer:
        """Every character of the text becomes a piece, every word, and the commonest short pieces of words."""
        words = Counter(word for paragraph in paragraphs for word in _WORD.findall(" " + paragraph))
        short: Counter[str] = Counter()
        for word, count in words.items():
            for length in range(2, _PIECE_LENGTH + 1):
                for start in range(len(word) - length + 1):
                    short[word[start : start + length]] += count
        pieces = [piece for piece, count in short.most_common(_PIECES) if count >= _SEEN_OFTEN]
        return cls([*words, *sorted({char for word in words for char in word}), *pieces])

    def encode(self, text: str) -> list[int]:
        """Any text; the shortest sequence that greedy matching finds."""
        found: list[int] = []
        for word in _WORD.findall(text):
            id = self.ids.get(word)
            if id is not None:
                found.append(id)
            else:
                self._split(word, found)
        return found

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; runs of bytes are read as UTF-8."""
        parts, run = list[str](), bytearray()
        for id in ids:
            if 1 <= id <= 256:
                run.append(id - 1)
                continue
            if run:
                parts.append(run.decode(errors="replace"))
                run = bytearray()
            parts.append(self.pieces[id])
        return "".join(parts) + run.decode(errors="replace")

    def _split(self, word: str, found: list[int]) -> None:
        at = 0
        while at < len(word):
            for length in range(min(_PIECE_LENGTH, len(word) - at), 0, -1):
                id = self.ids.get(word[at : at + length])
                if id is not None:
                    found.append(id)
                    at += length
                    break
            else:
                found.extend(byte + 1 for byte in word[at].encode(errors="surrogatepass"))
                at += 1
