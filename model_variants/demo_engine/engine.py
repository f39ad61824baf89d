"""One running engine: the model, its places, its counters, its failures; and how one job becomes steps in time."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator

from model_variants.demo_engine.gate import Gate
from model_variants.demo_engine.generating import Step, generate, logprobs_of
from model_variants.demo_engine.metrics import Metrics
from model_variants.demo_engine.model import LanguageModel
from model_variants.demo_engine.requests import Job, Refusal
from model_variants.demo_engine.settings import Settings


class Aborted(Exception):
    """The connection is to be cut in the middle of a stream, as if the engine had died."""


class Engine:
    """`loaded` is set once the model may answer."""

    def __init__(self, settings: Settings, model: LanguageModel, origin: str) -> None:
        self.settings = settings
        self.model = model
        self.origin = origin
        self.gate = Gate(settings.max_concurrency, settings.queue_limit)
        self.metrics = Metrics(settings.model_names[0], settings.context_length)
        self.loaded = asyncio.Event()
        self._begun = 0
        self._ballast: list[bytearray] = []

    async def load(self) -> None:
        """What happens after the port opened: the pretended loading, then the pretended leak."""
        await asyncio.sleep(self.settings.load_delay)
        self.loaded.set()
        for _ in range((self.settings.oom or 0) >> 20):
            self._ballast.append(bytearray(b"x") * (1 << 20))
            await asyncio.sleep(0)

    async def run(self, job: Job) -> AsyncGenerator[tuple[int, Step], None]:
        """(choice, step) in the order of time, choices taking turns. Waits for a place first. Closing it stops the work."""
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        async with self.gate.place():
            self.metrics.queued.observe(loop.time() - arrived)
            crash = await self._misbehave()
            self.metrics.prompt_tokens += job.prompt_tokens
            held, made, finish = job.prompt_tokens, 0, "abort"
            self.metrics.held_tokens += held
            try:
                await self._pause(self.settings.ttft)
                async for choice, step in self._turns(job):
                    if not made:
                        self.metrics.first_token.observe(loop.time() - arrived)
                    made += 1
                    self.metrics.generation_tokens += 1
                    self.metrics.held_tokens += 1
                    finish = step.finish or finish
                    yield choice, step
                    if crash:
                        os._exit(1)
            finally:
                self.metrics.held_tokens -= held + made
                self.metrics.finished[finish] += 1
                self.metrics.whole.observe(loop.time() - arrived)

    async def _turns(self, job: Job) -> AsyncGenerator[tuple[int, Step], None]:
        sampling = job.sampling
        prompts = [prompt for prompt in job.prompts for _ in range(sampling.n)]
        runs = {at: generate(self.model, prompt, sampling, at % sampling.n) for at, prompt in enumerate(prompts) if sampling.max_tokens}
        first = True
        while runs:
            await self._pause(0.0 if first else self.settings.tpot)
            first = False
            for at, steps in list(runs.items()):
                step = next(steps)
                if step.finish:
                    del runs[at]
                yield at, step

    def echoed(self, job: Job) -> list[list[Step]]:
        """The prompts' own tokens, once per choice, where the job wants them repeated."""
        if not job.echo:
            return [[] for _ in job.prompts for _ in range(job.sampling.n)]
        top, pieces = job.sampling.top, self.model.tokenizer.pieces
        found = [
            logprobs_of(self.model, prompt, top) if top is not None else [Step(id, pieces[id], pieces[id]) for id in prompt]
            for prompt in job.prompts
        ]
        return [steps for steps in found for _ in range(job.sampling.n)]

    async def _misbehave(self) -> bool:
        """The failures that were asked for; True: the process ends after this request's first token."""
        self._begun += 1
        if self.settings.hang:
            await asyncio.Event().wait()
        if random.random() < self.settings.fail_rate:
            raise Refusal("this failure was asked for (fail_rate)", status=500)
        return self.settings.crash_after_requests is not None and self._begun >= self.settings.crash_after_requests

    async def _pause(self, seconds: float) -> None:
        """Also without a delay the loop gets its turn, so that a long answer does not hold up the others."""
        spread = seconds * self.settings.jitter
        await asyncio.sleep(seconds + random.uniform(-spread, spread) if spread else seconds)
