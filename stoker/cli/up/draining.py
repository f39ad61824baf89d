"""Taking the sessions off a platform that stops, and opening its nodes again at its next start.

The specs stay as they are. What `down` does is what an operator would do by hand: drain each node, wait until no session
holds anything, and on the way back uncordon the nodes that it had drained, and only those.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from stoker.cli.up import token_files
from stoker.cli.up.caller import Caller
from stoker.clock import Clock
from stoker.data_dir import DataDir
from stoker.states import HOLDING, SessionStatus

DRAIN_SECONDS = 300.0
"""What streams that are under way are given; then they are cut."""

FORCE_SECONDS = 15.0
ANSWER_SECONDS = 15.0
"""How long a router that does not answer is asked: one that died is back by then."""

_POLL_SECONDS = 0.1


class Draining:
    """`drain` may be cut short by `force`, from another task; it then kills what is left."""

    def __init__(self, caller: Caller, data: DataDir, clock: Clock, tell: Callable[[str], None]) -> None:
        self._caller, self._data, self._clock, self._tell = caller, data, clock, tell
        self._forced = asyncio.Event()

    def force(self) -> None:
        self._forced.set()

    async def drain(self) -> bool:
        """Whether no session holds anything any more. Sessions that are left run on, and the next `up` finds them."""
        if not await self._mark():
            self._tell("the router does not answer, so that nothing is drained; sessions run on, and the next `up` takes them over")
            return False
        if not await self._empty(self._clock.monotonic() + DRAIN_SECONDS, self._forced):
            for session in await self._holding() or ():
                await self._caller.ask("DELETE", f"/admin/sessions/{session}?now=true")
        if await self._empty(self._clock.monotonic() + FORCE_SECONDS, None):
            return True
        self._tell(
            f"sessions still run: {', '.join(sorted(await self._holding() or ['nobody knows which']))}; the next `up` takes them over"
        )
        return False

    async def undo(self) -> None:
        """Open the nodes that the last `down` drained."""
        try:
            names = json.loads(self._data.drained.read_text())
        except (FileNotFoundError, ValueError):
            return
        for name in names:
            answer = await self._caller.ask("POST", f"/admin/nodes/{name}/uncordon", {})
            if answer.status not in (200, 202, 204, 404):
                self._tell(f"the node {name} is still drained; type `stoker node uncordon {name}`")
        self._data.drained.unlink(missing_ok=True)

    async def _mark(self) -> bool:
        """Drain every node that takes sessions; the list is on disk before, so that no crash leaves a node closed."""
        deadline = self._clock.monotonic() + ANSWER_SECONDS
        while (nodes := await self._caller.items("/admin/nodes")) is None:
            if self._forced.is_set() or self._clock.monotonic() > deadline:
                return False
            await self._clock.sleep(_POLL_SECONDS)
        closed = [node["name"] for node in nodes if node["status"] in ("cordoned", "draining")]
        ours = [node["name"] for node in nodes if node["name"] not in closed]
        token_files.write(self._data.drained, json.dumps(ours))
        return all([await self._close(name, deadline) for name in (*ours, *closed)])

    async def _close(self, name: str, deadline: float) -> bool:
        """Ask until it is taken: a router or a store that is just coming back refuses, and an open node is never empty."""
        while True:
            answer = await self._caller.ask("POST", f"/admin/nodes/{name}/drain", {"timeout": DRAIN_SECONDS})
            if answer.status in (200, 202, 204, 404):
                return True
            if self._forced.is_set() or self._clock.monotonic() > deadline:
                return False
            await self._clock.sleep(_POLL_SECONDS)

    async def _holding(self) -> list[str] | None:
        """Ids of the sessions that can still end, None where nobody can say. A lost node's cannot be waited for."""
        sessions = await self._caller.items("/admin/sessions")
        return None if sessions is None else [session["id"] for session in sessions if session["status"] in HOLDING - {SessionStatus.LOST}]

    async def _empty(self, deadline: float, cut: asyncio.Event | None) -> bool:
        """Wait until no session holds anything; False at the deadline or when `cut` is set."""
        said = 0
        while True:
            holding = await self._holding()
            if holding == []:
                return True
            if self._clock.monotonic() > deadline or (cut is not None and cut.is_set()):
                return False
            if holding and len(holding) != said:
                said = len(holding)
                self._tell(f"waiting for {said} session{'s' if said > 1 else ''} to end")
            await self._clock.sleep(_POLL_SECONDS)
