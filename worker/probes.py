"""Is it ready? During a start the worker asks often and cheaply; from READY on the routers probe, and it only watches the port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from model_variants.base import LaunchPlan
from stoker.clock import Clock
from stoker.records import Reason
from stoker.states import Phase
from worker import sockets
from worker.http_probe import Answer, NoHttp, ask

PAUSES = ((10.0, 0.02), (60.0, 0.04), (float("inf"), 0.06))
"""Up to so many seconds after the start, so long between two tries: READY is found within 100 ms at any age."""

WATCH_SECONDS = 5.0
_CONNECT_SECONDS = 1.0
_FIRST_ANSWER_TRIES = 5
_FIRST_ANSWER_PAUSE = 1.0
_STRANGER_LOOKS = 3


class NotReady(Exception):
    """It will not become ready; `reason` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = Reason(code, message)


class StartProbe:
    """The probing of one start: `pids` are the session's processes now, `tell` hears of the phases."""

    def __init__(
        self,
        host: str,
        port: int,
        plan: LaunchPlan,
        key: str | None,
        clock: Clock,
        pids: Callable[[], set[int]],
        tell: Callable[[Phase], None],
    ) -> None:
        self._host, self._port, self._plan, self._key = host, port, plan, key
        self._clock, self._pids, self._tell = clock, pids, tell
        self._last = "nothing listens on its port"
        self._address: tuple[int, tuple[Any, ...]] = (0, ())

    async def ready(self, already: float) -> None:
        """Until it is ready. `already` seconds have passed since its start. Raises NotReady.

        1. Its port accepts. 2. The listener is a process of this session. 3. The health path answers as it should.
        4. A first request is answered, where the variant wants one. 5. The listener is still its own.
        """
        timeout = self._plan.health.start_timeout
        try:
            async with asyncio.timeout(max(0.0, timeout - already)):
                self._address = await self._resolved()
                await self._until(self._accepts, already)
                await self._own_port()
                if self._plan.health.enable and self._plan.health.path is not None:
                    await self._until(self._healthy, already)
                if self._plan.first_answer is not None:
                    self._tell(Phase.WARMING)
                    await self._first_answer()
                await self._own_port()
        except TimeoutError:
            raise NotReady("start_timeout", f"not ready within {timeout:g} s: {self._last}") from None

    async def _until(self, good: Callable[[], Awaitable[bool]], already: float) -> None:
        began = self._clock.monotonic() - already
        while not await good():
            age = self._clock.monotonic() - began
            await self._clock.sleep(next(pause for until, pause in PAUSES if age < until))

    async def _accepts(self) -> bool:
        family, address = self._address
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setblocking(False)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await asyncio.get_running_loop().sock_connect(tried, address)
            except (OSError, TimeoutError):
                return False
        self._last = "its port accepts connections, but it is not healthy"
        return True

    async def _resolved(self) -> tuple[int, tuple[Any, ...]]:
        """Family and address of the node, looked up once and not at each try."""
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        self._host = str(found[0][4][0])
        return found[0][0], found[0][4]

    async def _own_port(self) -> None:
        """Nobody else may be asked, and be told the session's key."""
        for _ in range(_STRANGER_LOOKS):
            if owns_port(self._port, self._pids()):
                return
            await self._clock.sleep(PAUSES[-1][1])
        raise NotReady("port_taken", f"another process listens on port {self._port}, which this session was given")

    async def _healthy(self) -> bool:
        health = self._plan.health
        try:
            async with asyncio.timeout(health.max_wait_time):
                answer = await ask(self._host, self._port, health.path or "/")
        except TimeoutError:
            self._last = f"GET {health.path} was not answered within {health.max_wait_time:g} s"
            return False
        except (OSError, EOFError, NoHttp) as error:
            self._last = f"GET {health.path} failed: {error}"
            return False
        self._last = f"GET {health.path} answers {answer.status}, and {health.expected_status_code} is expected"
        if answer.status == self._plan.loading_status:
            self._last = f"it is still loading (GET {health.path} answers {answer.status})"
        return answer.status == health.expected_status_code

    async def _first_answer(self) -> None:
        """Some engines are healthy and die at their first request. Raises NotReady(probe_failed) after a few refusals."""
        for attempt in range(_FIRST_ANSWER_TRIES):
            if attempt:
                await self._clock.sleep(_FIRST_ANSWER_PAUSE)
            answer = await self._post()
            if answer is not None and 200 <= answer.status < 300:
                return
        raise NotReady("probe_failed", f"it is healthy, but cannot answer: {self._last}")

    async def _post(self) -> Answer | None:
        first = self._plan.first_answer
        assert first is not None
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {self._key}"} if self._key else {})
        self._last = f"the first request, POST {first.path}, is not answered yet"
        try:
            answer = await ask(self._host, self._port, first.path, method="POST", headers=headers, body=first.body, read_body=True)
        except (OSError, EOFError, NoHttp) as error:
            self._last = f"the first request, POST {first.path}, failed: {error}"
            return None
        self._last = f"the first request, POST {first.path}, was answered {answer.status}: {answer.text}"
        return answer


async def port_lost(port: int, pids: Callable[[], set[int]], clock: Clock) -> Reason:
    """Wait until the session no longer listens on its port, seen twice in a row; why it is over then."""
    missed, listener = 0, None
    while missed < 2:
        await clock.sleep(WATCH_SECONDS)
        if listener is None or not listener.still():
            listener = sockets.owner(sockets.listeners(port), pids())
        missed = 0 if listener is not None or not sockets.can_tell() else missed + 1
    return Reason("probe_failed", f"it still runs, but no longer listens on port {port}")


def owns_port(port: int, pids: set[int]) -> bool:
    """Whether one of these processes listens there; true where the system does not tell."""
    return not sockets.can_tell() or sockets.owner(sockets.listeners(port), pids) is not None
