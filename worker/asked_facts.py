"""Facts of a model that no service need name yet: a router asks for them before it says whether a spec would fit."""

from __future__ import annotations

import asyncio
import contextlib

from worker.model_facts import FactsBook
from worker.model_paths import is_local

SECONDS = 4.0
"""For one answer. A reader that takes longer goes on, so that it may be done when it is asked again."""

READERS = 2
"""Threads at once: a disk that hangs must not take those that logs and the journal need."""


class AskedFacts:
    """`book` is the node's: what was read for a question is there when a service names the model."""

    def __init__(self, book: FactsBook) -> None:
        self._book = book
        self._reading: dict[str, asyncio.Task[dict[str, object]]] = {}

    async def of(self, model: str) -> dict[str, object] | None:
        """What the node would publish of it: ModelFacts in JSON form, or {"missing": sentence}. None: not known within SECONDS."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while model not in self._reading and len(self._reading) >= READERS:
                    await asyncio.wait(self._reading.values(), return_when=asyncio.FIRST_COMPLETED)
                reading = self._reading.get(model) or self._read(model)
                await asyncio.wait({reading})
                return reading.result()
        return None

    def _read(self, model: str) -> asyncio.Task[dict[str, object]]:
        task = asyncio.create_task(asyncio.to_thread(self._book.look, model))
        self._reading[model] = task
        task.add_done_callback(lambda _: self._reading.pop(model, None))
        return task


def may_ask(model: str) -> bool:
    """Whether a spec could say so, and its files lie on nodes."""
    plain = model.isprintable() and len(model) <= 4096
    return bool(model) and plain and is_local(model) and (model.startswith("/") or ".." not in model.split("/"))
