"""A back-off n-gram model over positions: the text itself is the table, and contexts are looked up where they occur.

p(w | c1…ck) = (1 - h) · weight(c1…ck w) / weight(c1…ck) + h · p(w | c2…ck), where h = D · distinct / occurrences is handed
down to the shorter context: the more different tokens followed, the less is known. Below it are unigrams with a little mass
for every known token. Occurrences in paragraphs that share rare words with the prompt weigh more, which keeps an answer on the
prompt's subject.
"""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter

from model_variants.demo_engine.tokens import END, Tokenizer

ORDER = 3
DISCOUNT = 0.4
TOKENS_LIMIT = 1_000_000
_LOOKED_AT = 1024
_ON_SUBJECT = 20.0
_SUBJECTS = 24
_FLOOR = 0.01
_RARE = 4
_AT_A_START = 0.001

Level = tuple[dict[int, float], float, float]
"""Weights of what follows a context, their sum, and the part of the probability that is handed down."""


class Subject:
    """What a prompt is about: extra weight by paragraph."""

    def __init__(self, weights: dict[int, float]) -> None:
        self.weights = weights


class LanguageModel:
    """Learns once, then only reads; safe to share between requests."""

    def __init__(self, paragraphs: list[str]) -> None:
        self.tokenizer = Tokenizer.learn(paragraphs)
        self._text = array("I", [END])
        self._paragraph = array("I", [0])
        for number, paragraph in enumerate(paragraphs):
            ids = [*self.tokenizer.encode(" " + paragraph), END]
            self._text.extend(ids)
            self._paragraph.extend([number] * len(ids))
            if len(self._text) > TOKENS_LIMIT:
                break
        self._places: dict[int, array[int]] = {}
        for at in range(len(self._text) - 1):
            self._places.setdefault(self._text[at], array("I")).append(at)
        self._counts = Counter(self._text)
        self._known = sorted(self._counts)
        self._common = [id for id, _ in self._counts.most_common(64)]

    @property
    def size(self) -> int:
        """Tokens learnt from."""
        return len(self._text)

    def subject(self, prompt: list[int]) -> Subject:
        """The paragraphs that share the rarest tokens with the prompt weigh most."""
        scores: dict[int, float] = {}
        for id in set(prompt[-512:]):
            places = self._places.get(id, ())
            if id == END or not places or len(places) > max(_RARE, len(self._text) // 100):
                continue
            rarity = math.log(len(self._text) / len(places))
            for paragraph in {self._paragraph[at] for at in places}:
                scores[paragraph] = scores.get(paragraph, 0.0) + rarity
        best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:_SUBJECTS]
        top = best[0][1] if best else 1.0
        return Subject({paragraph: _ON_SUBJECT * (score / top) ** 3 for paragraph, score in best})

    def levels(self, context: list[int], subject: Subject) -> list[Level]:
        """What followed the last 1, 2, … ORDER tokens of `context`, as long as that was seen.

        Behind the end of a paragraph hardly anything is handed down: what begins an answer should be the beginning of something.
        """
        found: list[Level] = []
        places: list[int] | array[int] = self._places.get(context[-1], array("I")) if context else array("I")
        text = self._text
        for depth in range(1, ORDER + 1):
            if depth > 1:
                wanted, back = context[-depth], depth - 1
                places = [at for at in places if at >= back and text[at - back] == wanted]
            if not places:
                break
            weights, total, handed_down = self._followers(places, subject)
            found.append((weights, total, handed_down if context[-1] != END else _AT_A_START))
            if depth == len(context):
                break
        return found

    def _followers(self, places: list[int] | array[int], subject: Subject) -> Level:
        if len(places) > _LOOKED_AT:
            step = len(places) // _LOOKED_AT + 1
            near = [at for at in places if self._paragraph[at + 1] in subject.weights]
            places = [*places[::step], *near[:_LOOKED_AT]]
        weights: dict[int, float] = {}
        extra, paragraph, text = subject.weights, self._paragraph, self._text
        for at in places:
            id = text[at + 1]
            weights[id] = weights.get(id, 0.0) + 1.0 + extra.get(paragraph[at + 1], 0.0)
        return weights, sum(weights.values()), DISCOUNT * len(weights) / len(places)

    def probability(self, id: int, levels: list[Level]) -> float:
        """Of `id` as the next token; more than 0 and at most 1."""
        p = (self._counts.get(id, 0) + _FLOOR) / (len(self._text) + _FLOOR * len(self.tokenizer))
        for weights, total, handed_down in levels:
            p = (1 - handed_down) * weights.get(id, 0.0) / total + handed_down * p
        return p

    def sample(self, levels: list[Level], rng: random.Random) -> int:
        """One token by its probability: each level either answers or hands down to the next shorter context.
        The mass of tokens that never occurred is too small to be worth drawing.
        """
        for weights, _, handed_down in reversed(levels):
            if rng.random() >= handed_down:
                return rng.choices(list(weights), list(weights.values()))[0]
        return self._text[rng.randrange(len(self._text))]

    def likely(self, levels: list[Level], most: int) -> list[tuple[int, float]]:
        """The likeliest next tokens and their probabilities, best first."""
        ids = set(self._common)
        for weights, _, _ in levels[-2:]:
            ids.update(sorted(weights, key=lambda id: -weights[id])[: 4 * most])
        ranked = sorted(((id, self.probability(id, levels)) for id in ids), key=lambda item: (-item[1], item[0]))
        return ranked[:most]
