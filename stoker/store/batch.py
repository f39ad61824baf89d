"""Commits asked for in one turn of the event loop go out together, in order: one round trip and one fsync of the server.

A scheduler's pass writes several records one after the other; with `appendfsync always` each lone write would wait for a disk.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import redis.asyncio as aioredis
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError, RedisError

LARGEST = 128
"""Commits in one round trip: the server does nothing else meanwhile."""


class _Asked(NamedTuple):
    keys: list[str]
    args: list[Any]
    answer: asyncio.Future[Any]


class Batch:
    """`run` is one call of the script; the calls of one turn share a pipeline, without a transaction around them."""

    def __init__(self, client: aioredis.Redis, script: AsyncScript) -> None:
        self._client = client
        self._script = script
        self._asked: list[_Asked] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self, keys: list[str], args: list[Any]) -> Any:
        """The script's answer. Raises what Redis raised for this call, or for the connection."""
        loop = asyncio.get_running_loop()
        asked = _Asked(keys, args, loop.create_future())
        if not self._asked:
            loop.call_soon(self._send)
        self._asked.append(asked)
        return await asked.answer

    def _send(self) -> None:
        while self._asked:
            portion, self._asked = self._asked[:LARGEST], self._asked[LARGEST:]
            task = asyncio.get_running_loop().create_task(self._exchange(portion))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _exchange(self, portion: list[_Asked]) -> None:
        answers: list[Any] = [ConnectionError("the store was given up")] * len(portion)
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                for asked in portion:
                    await self._script(keys=asked.keys, args=asked.args, client=pipe)
                answers = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            answers = [error] * len(portion)
        finally:
            for asked, answer in zip(portion, answers, strict=True):
                _tell(asked.answer, answer)


def _tell(waiting: asyncio.Future[Any], answer: Any) -> None:
    if waiting.done():
        return
    if isinstance(answer, Exception):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
