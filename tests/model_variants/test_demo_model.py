"""The demo engine's parts without HTTP: text, tokens, probabilities, generation, places."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_variants.demo_engine.embedding import embed
from model_variants.demo_engine.gate import Gate
from model_variants.demo_engine.generating import Sampling, generate
from model_variants.demo_engine.model import LanguageModel
from model_variants.demo_engine.requests import Refusal
from model_variants.demo_engine.text import NoText, paragraphs, read_paragraphs

PARAGRAPHS = [
    "A session is one running replica of a service, and a service is what a user wants served.",
    "A node is a machine that runs a worker, and a worker starts a session when the scheduler says so.",
    "The scheduler says which session is placed on which node, and a router sends a request to a session.",
]
MODEL = LanguageModel(PARAGRAPHS)
printable = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def test_prose_is_kept_and_the_rest_dropped() -> None:
    page = """\
# A heading is not prose at all

First line of a paragraph
that goes on with [a link](http://x.y/z) and `code` and **bold** words.

| a table | is dropped | even when it is long |
|---|---|---|

```console
$ nothing in a fence is learnt from
```

    indented code is not prose either, not at all

- an item is a paragraph of its own
- too short
1. and so is a numbered item of some length
"""
    assert list(paragraphs(page)) == [
        "First line of a paragraph that goes on with a link and code and bold words.",
        "an item is a paragraph of its own",
        "and so is a numbered item of some length",
    ]


def test_our_own_documentation_is_found_and_large_enough() -> None:
    found, origin = read_paragraphs(None)
    assert origin == "Stoker's own documentation" and sum(len(one.split()) for one in found) > 1000


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("too short")
    with pytest.raises(NoText, match=tmp_path.name):
        read_paragraphs(str(tmp_path))


@given(printable)
def test_tokens_give_back_any_text(text: str) -> None:
    tokenizer = MODEL.tokenizer
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(0 < id < len(tokenizer) for id in ids)


@given(st.lists(st.integers(0, len(MODEL.tokenizer) - 1), min_size=1, max_size=6))
def test_probabilities_of_all_tokens_sum_to_one(context: list[int]) -> None:
    levels = MODEL.levels(context, MODEL.subject(context))
    assert sum(MODEL.probability(id, levels) for id in range(len(MODEL.tokenizer))) == pytest.approx(1)
    likely = MODEL.likely(levels, 5)
    assert [p for _, p in likely] == sorted((p for _, p in likely), reverse=True)


@given(printable, st.integers(0, 2**63), st.sampled_from([0.0, 0.7, 1.0]), st.integers(1, 30))
def test_generation_is_reproducible_and_bounded(prompt: str, seed: int, temperature: float, most: int) -> None:
    sampling = Sampling(max_tokens=most, seed=seed, temperature=temperature)
    ids = MODEL.tokenizer.encode(prompt)
    first, second = (list(generate(MODEL, ids, sampling)) for _ in range(2))
    assert first == second and 1 <= len(first) <= most
    assert [step.finish for step in first[:-1]] == [None] * (len(first) - 1) and first[-1].finish in ("stop", "length")
    assert "".join(step.text for step in first).strip()


@given(st.lists(st.text(" aeinors,.", min_size=1, max_size=4), min_size=1, max_size=4), st.integers(0, 1000))
def test_stop_strings_cut_exactly_where_they_begin(stops: list[str], seed: int) -> None:
    def text(**more: object) -> str:
        sampling = Sampling(max_tokens=25, seed=seed, ignore_eos=True, **more)  # type: ignore[arg-type]
        return "".join(step.text for step in generate(MODEL, MODEL.tokenizer.encode("A session is"), sampling))

    whole = text()
    hits = [whole.find(stop) for stop in stops if stop in whole]
    expected = whole[: _first_completed(whole, stops)] if hits else whole
    assert text(stop=tuple(stops)) == expected


def _first_completed(whole: str, stops: list[str]) -> int:
    """Where the text is cut: generation ends with the token that completes a stop string, at the earliest one then seen."""
    pieces = MODEL.tokenizer
    ids, length = pieces.encode(whole), 0
    for id in ids:
        length += len(pieces.pieces[id])
        seen = [at for stop in stops if (at := whole[:length].find(stop)) >= 0]
        if seen:
            return min(seen)
    raise AssertionError("no stop string")


def test_different_subjects_lead_to_different_answers() -> None:
    def nodes(prompt: str) -> int:
        ids = [*MODEL.tokenizer.encode(" " + prompt), 0]
        texts = ["".join(step.text for step in generate(MODEL, ids, Sampling(max_tokens=2, seed=seed))) for seed in range(100)]
        return texts.count("A node")

    assert nodes("a machine that runs") > nodes("placed on which") + 20


@given(printable, st.integers(8, 300))
def test_embeddings_have_length_one(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions)
    assert len(vector) == dimensions and sum(x * x for x in vector) == pytest.approx(1)


async def test_places_are_given_in_order_of_arrival_and_back_when_a_waiter_leaves() -> None:
    gate, order = Gate(1, 3), list[str]()
    inside, leave = asyncio.Event(), asyncio.Event()

    async def visit(name: str) -> None:
        async with gate.place():
            order.append(name)
            inside.set()
            await leave.wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(visit("first"))
        await inside.wait()
        waiting = [group.create_task(visit(name)) for name in ("second", "third", "fourth")]
        while gate.waiting < 3:
            await asyncio.sleep(0)
        with pytest.raises(Refusal):
            await visit("fifth")
        waiting[1].cancel()
        leave.set()
    assert order == ["first", "second", "fourth"] and gate.running == 0 and gate.waiting == 0
