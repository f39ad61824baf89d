"""How long to wait before the next start, derived from the sessions that ended: nothing to keep, nothing to lose."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stoker.records import Backoff, Reason, SessionRecord
from stoker.states import SessionStatus

STARTS_IN_A_ROW = 5
EXITS = 5
EXIT_WINDOW = 600.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
FAILURES_ON_A_NODE = 2
NODE_WINDOW = 600.0
"""Seconds after which a failure is no longer held against the node."""

REFUSED_PAUSE, REFUSED_AGAIN_PAUSE, REFUSED_WINDOW = 2.0, 15.0, 30.0

SURROUNDINGS = frozenset(
    {
        "image_pull", "model_fetch", "disk_full", "node_silent", "node_lost", "port_taken", "gpu_fault", "held_by",
        "foreign_gpu_process", "secret_missing", "engine_missing", "model_missing",
    }
)  # fmt: skip
"""What the engine is not to blame for: it makes pauses grow, and never counts as a crash."""


def pause(failures: int) -> float:
    """1, 2, 4, … seconds after so many failures in a row, 5 minutes at most; 0 without a failure."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (min(failures, 16) - 1)) if failures > 0 else 0.0


def derive(revision: int, sessions: Iterable[SessionRecord], old: Backoff, now: float) -> Backoff:
    """The state of one service's starts, from all its sessions; only those of `revision` count, so a new one starts afresh.

    1. Failed starts since the last READY make the pause grow; those that are the engine's own fault count to giving up.
    2. Exits after READY within ten minutes do the same, in their own count.
    3. Failures in a row on one node, each for ten minutes, exclude it once there are two.
    """
    mine = [session for session in sessions if session.revision == revision]
    ready_at = max((session.ready_at for session in mine if session.ready_at), default=0.0)
    ended = sorted((session for session in mine if _failed(session)), key=_end)
    starts = [session for session in ended if not session.ready_at and _end(session) > ready_at]  # (1)
    exits = [session for session in ended if session.ready_at and now - _end(session) < EXIT_WINDOW]  # (2)
    crashes = sum(_code(session) not in SURROUNDINGS for session in starts)
    crashed = tuple(_end(session) for session in exits if _code(session) not in SURROUNDINGS)[-EXITS:]
    until = [_end(group[-1]) + pause(len(group)) for group in (starts, exits) if group]
    waiting = max(until, default=0.0)
    return Backoff(
        failures=crashes,
        exits=crashed,
        not_before=waiting,
        gave_up=crashes >= STARTS_IN_A_ROW or len(crashed) >= EXITS,
        node_failures=_by_node(mine, ended, now),
        avoid={node: until for node, until in old.avoid.items() if now < until + REFUSED_WINDOW},
        last=ended[-1].reason if ended and (starts or exits) else None,
    )


def refused(backoff: Backoff, node: str, now: float) -> Backoff:
    """The same, after `node` refused a session: it is not asked again for a while, longer if it just did the same."""
    wait = REFUSED_AGAIN_PAUSE if node in backoff.avoid else REFUSED_PAUSE
    return msgspec.structs.replace(backoff, avoid={**backoff.avoid, node: now + wait})


def shunned(backoff: Backoff) -> frozenset[str]:
    """Nodes that two failures in a row exclude from the next tries."""
    return frozenset(node for node, count in backoff.node_failures.items() if count >= FAILURES_ON_A_NODE)


def avoided(backoff: Backoff, now: float) -> frozenset[str]:
    return frozenset(node for node, until in backoff.avoid.items() if now < until)


def waits(backoff: Backoff, now: float) -> Reason | None:
    """Why the next start waits; None if it need not. The sentence stays the same while it waits."""
    if now >= backoff.not_before:
        return None
    last = backoff.last or Reason("start_exit", "the last start failed")
    many = f" after {backoff.failures} failed starts in a row" if backoff.failures > 1 else ""
    return Reason(last.code, f"the next start follows after a pause{many}; the last: {last.message}")


def _by_node(mine: Iterable[SessionRecord], ended: list[SessionRecord], now: float) -> dict[str, int]:
    last_ready: dict[str, float] = {}
    for session in mine:
        if session.node and session.ready_at:
            last_ready[session.node] = max(last_ready.get(session.node, 0.0), session.ready_at)
    counts: dict[str, int] = {}
    for session in ended:
        node, end = session.node, _end(session)
        if node and now - end < NODE_WINDOW and (end > last_ready.get(node, 0.0)):
            counts[node] = counts.get(node, 0) + 1
    return counts


def _failed(session: SessionRecord) -> bool:
    """FAILED, or stopped because its health check never came back."""
    if session.status is SessionStatus.FAILED:
        return True
    return session.status is SessionStatus.STOPPED and _code(session) == "probe_failed"


def _code(session: SessionRecord) -> str:
    return session.reason.code if session.reason else ""


def _end(session: SessionRecord) -> float:
    return session.ended_at or 0.0
