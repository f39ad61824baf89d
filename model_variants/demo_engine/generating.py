"""From a prompt to tokens, one at a time: temperature, top_p, penalties, stop strings, length. No waiting happens here."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import msgspec

from model_variants.demo_engine.model import LanguageModel, Level
from model_variants.demo_engine.tokens import END

_CANDIDATES = 64


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """As in OpenAI's requests; `top` counts alternatives wanted per token, None: no log probabilities are wanted."""

    max_tokens: int = 16
    min_tokens: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top: int | None = None
    ignore_eos: bool = False
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    n: int = 1


class Step(msgspec.Struct, frozen=True):
    """One token: `text` is what may be shown now (stop strings hold text back), `finish` the reason of the last one."""

    id: int
    token: str
    text: str
    finish: str | None = None
    logprob: float | None = None
    top: tuple[tuple[str, float], ...] = ()


def generate(model: LanguageModel, prompt: list[int], sampling: Sampling, choice: int = 0) -> Iterator[Step]:
    """Steps until a stop string, the end of a paragraph, or max_tokens. The same seed, prompt and choice give the same steps."""
    rng = random.Random(None if sampling.seed is None else f"{sampling.seed}/{choice}")
    subject, context = model.subject(prompt), prompt[-16:] or [END]
    stops, made = _Stops(sampling.stop), list[int]()
    while True:
        levels = model.levels(context, subject)
        id = _next(model, levels, sampling, rng, made)
        ended = id == END and not sampling.ignore_eos and len(made) >= sampling.min_tokens
        made.append(id)
        context = [*context[-16:], id]
        token = "" if ended else _shown(model, id, first=len(made) == 1 and prompt[-1:] in ([], [END]))
        text, stopped = stops.feed(token)
        finish = "stop" if ended or stopped else "length" if len(made) >= sampling.max_tokens else None
        if finish and not stopped:
            text += stops.rest()
        logprob, top = _explained(model, id, levels, sampling.top)
        yield Step(id, token, text, finish, logprob, top)
        if finish:
            return


def logprobs_of(model: LanguageModel, ids: list[int], top: int) -> list[Step]:
    """The tokens of a prompt with their log probabilities (`echo`); the first has none."""
    found, nothing = list[Step](), model.subject([])
    for at, id in enumerate(ids):
        levels = model.levels(ids[max(0, at - 16) : at] or [END], nothing)
        logprob, alternatives = _explained(model, id, levels, top) if at else (None, ())
        token = model.tokenizer.pieces[id]
        found.append(Step(id, token, token, None, logprob, alternatives))
    return found


def _shown(model: LanguageModel, id: int, *, first: bool) -> str:
    """A paragraph's end inside an answer is a blank line; the first word of a fresh answer has no space before it."""
    if id == END:
        return "\n\n"
    text = model.tokenizer.pieces[id]
    return text.lstrip(" ") or text if first else text


def _next(model: LanguageModel, levels: list[Level], sampling: Sampling, rng: random.Random, made: list[int]) -> int:
    plain = sampling.temperature == 1 and sampling.top_p == 1 and not sampling.presence_penalty and not sampling.frequency_penalty
    may_end = sampling.ignore_eos or len(made) >= sampling.min_tokens
    if plain:
        for _ in range(8):
            id = model.sample(levels, rng)
            if id != END or may_end:
                return id
    candidates = [(id, p) for id, p in model.likely(levels, _CANDIDATES) if id != END or may_end]
    return _pick(_penalised(candidates, sampling, made), sampling, rng)


def _penalised(candidates: list[tuple[int, float]], sampling: Sampling, made: list[int]) -> list[tuple[int, float]]:
    if not sampling.presence_penalty and not sampling.frequency_penalty:
        return candidates
    counts = {id: made.count(id) for id, _ in candidates}
    scored = [
        (id, p * math.exp(-sampling.frequency_penalty * counts[id] - (sampling.presence_penalty if counts[id] else 0)))
        for id, p in candidates
    ]
    return sorted(scored, key=lambda item: (-item[1], item[0]))


def _pick(ranked: list[tuple[int, float]], sampling: Sampling, rng: random.Random) -> int:
    if sampling.temperature <= 0.01:
        return ranked[0][0]
    total, kept, cut = sum(p for _, p in ranked), list[tuple[int, float]](), 0.0
    for id, p in ranked:
        kept.append((id, (p / ranked[0][1]) ** (1 / sampling.temperature)))
        cut += p / total
        if cut >= sampling.top_p:
            break
    return rng.choices([id for id, _ in kept], [weight for _, weight in kept])[0]


def _explained(model: LanguageModel, id: int, levels: list[Level], top: int | None) -> tuple[float | None, tuple[tuple[str, float], ...]]:
    if top is None:
        return None, ()
    logprob = math.log(model.probability(id, levels))
    pieces = model.tokenizer.pieces
    return logprob, tuple((pieces[other], math.log(p)) for other, p in model.likely(levels, top)) if top else ()


class _Stops:
    """Holds back text that may be the beginning of a stop string."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """What may be shown, and whether a stop string ended it."""
        if not self._stops:
            return text, False
        whole = self._held + text
        hits = [at for stop in self._stops if (at := whole.find(stop)) >= 0]
        if hits:
            self._held = ""
            return whole[: min(hits)], True
        keep = max((n for stop in self._stops for n in range(1, len(stop)) if whole.endswith(stop[:n])), default=0)
        self._held = whole[len(whole) - keep :]
        return whole[: len(whole) - keep], False

    def rest(self) -> str:
        held, self._held = self._held, ""
        return held
