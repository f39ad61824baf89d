"""A start as the user sees it: one line per phase with the time since the beginning, and on a terminal the running one live."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from stoker.cli.start_watch import Look, Phase, Watch, failed
from stoker.cli.tables import write
from stoker.client import Client
from stoker.errors import NotFound, RouterUnreachable, StokerError, StoreUnavailable

POLL_SECONDS = 0.1
SLOW_POLL_SECONDS = 0.5
"""Once a start has taken ten seconds."""

LAST_LINES = 20
AWAY_SECONDS = 20.0
"""How long a router that was there may say nothing: one that died is back by then."""


class StartShow(AbstractContextManager["StartShow"]):
    """Used in a `with`; on a terminal it owns the last line until it ends."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._said: list[Phase] = []
        self._status: Any = None
        if sys.stdout.isatty():
            from rich.console import Console

            self._status = Console().status("placing", spinner="dots")

    def __enter__(self) -> StartShow:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, look: Look) -> None:
        """A line for each phase that was entered since the last look."""
        if look.resting:
            return
        order = list(Phase)
        for phase in order[: order.index(look.phase) + 1]:
            if phase not in self._said and (phase is not Phase.READY or look.done):
                self._said.append(phase)
                self.line(f"  {phase.value:<10} {self.elapsed():5.1f} s" + (f"   {look.detail}" if phase is look.phase else ""))
        if self._status is not None:
            self._status.update(f"{look.phase.value} {self.elapsed():.1f} s  {_plain(look.detail)}")

    def line(self, text: str) -> None:
        if self._status is not None:
            self._status.console.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)
        else:
            write(text.rstrip())
            sys.stdout.flush()

    def elapsed(self) -> float:
        return time.monotonic() - self._began


class Start:
    """One start that is waited for. A router that is started again meanwhile is waited for as well."""

    def __init__(self, client: Client, name: str, show: StartShow) -> None:
        self._client, self._name, self._show = client, name, show
        self._watch = Watch()
        self._told = {id for id, _ in failed(client.sessions(name, ended=True))}
        self._heard = time.monotonic()

    def look(self) -> Look | None:
        """One look, shown; None where nobody could answer just now. Raises RouterUnreachable once that lasts AWAY_SECONDS."""
        try:
            sessions = self._client.sessions(self._name, ended=True)
            look = self._watch.look(self._client.service(self._name), sessions, time.monotonic())
        except NotFound:
            return Look(Phase.PLACING, "service_removed: somebody deleted it meanwhile", False)
        except StoreUnavailable:
            return None
        except RouterUnreachable:
            if time.monotonic() - self._heard > AWAY_SECONDS:
                raise
            return None
        self._heard = time.monotonic()
        self._tell_failures(failed(sessions))
        if look.done is not False:
            self._show.show(look)
        return look

    def _tell_failures(self, failures: list[tuple[str, str]]) -> None:
        for id, reason in failures:
            if id not in self._told:
                self._told.add(id)
                self._show.line(f"  failed     {self._show.elapsed():5.1f} s   {id}: {reason}")


def wait_for(client: Client, name: str, timeout: float, said: float | None = None) -> Look:
    """Show the start of `name` until it is as wanted, or will not be, or `timeout` seconds are over. `said`: the seconds that were typed,
    where `timeout` is what is left of them."""
    waited = timeout if said is None else said
    with StartShow() as show:
        start = Start(client, name, show)
        while True:
            look = start.look()
            if look is not None and look.done is not None:
                return look
            if show.elapsed() > timeout:
                words = look.detail if look else "the router does not answer"
                return Look(Phase.PLACING, f"it was not ready after {waited:g} s" + (f"; {words}" if words else ""), False)
            time.sleep(POLL_SECONDS if show.elapsed() < 10 else SLOW_POLL_SECONDS)


def last_lines(client: Client, name: str) -> list[str]:
    """What its engines said last; nothing where nobody can tell."""
    try:
        return list(client.logs(name, tail=LAST_LINES))[-LAST_LINES:]
    except StokerError:
        return []


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
