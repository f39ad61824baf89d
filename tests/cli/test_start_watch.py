"""When a start is over, and how it is shown: decided from what the router says."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.cli.start_watch import SETTLE_SECONDS, Phase, Watch, failed, phase_of


def service(status: str = "PROVISIONING", revision: int = 1, reason: str | None = None, replicas: Any = 1) -> dict[str, Any]:
    words = {"code": reason, "message": "why"} if reason else None
    return {"name": "x", "status": status, "revision": revision, "reason": words, "spec": {"replicas": replicas}}


def session(status: str, revision: int = 1, phase: str | None = None, reason: str | None = None) -> dict[str, Any]:
    words = {"code": reason, "message": "why"} if reason else None
    return {"id": f"x-{status}", "node": "n", "status": status, "revision": revision, "phase": phase, "reason": words}


@pytest.mark.parametrize(
    ("status", "phase", "expected"),
    [
        ("PENDING", None, Phase.PLACING), ("PLACED", None, Phase.STARTING), ("STARTING", "pulling", Phase.STARTING),
        ("STARTING", "starting", Phase.STARTING), ("STARTING", "loading", Phase.LOADING), ("STARTING", "warming", Phase.LOADING),
        ("READY", None, Phase.READY), ("DRAINING", None, None), ("FAILED", None, None), ("LOST", None, None),
    ],
)  # fmt: skip
def test_the_phase_of_a_session(status: str, phase: str | None, expected: Phase | None) -> None:
    assert phase_of(session(status, phase=phase)) is expected


def test_healthy_with_a_ready_session_of_this_revision_is_done() -> None:
    look = Watch().look(service("HEALTHY"), [session("READY")], 0)
    assert look.done and look.phase is Phase.READY


def test_healthy_by_the_sessions_of_the_last_revision_is_not_done() -> None:
    look = Watch().look(service("HEALTHY", revision=2), [session("READY"), session("STARTING", revision=2, phase="loading")], 0)
    assert look.done is None and look.phase is Phase.LOADING


def test_more_replicas_are_waited_for() -> None:
    watch = Watch()
    assert watch.look(service("HEALTHY", replicas=2), [session("READY")], 0).done is None
    assert watch.look(service("HEALTHY", replicas=2), [session("READY"), session("READY")], 1).done


def test_stopped_and_asleep_are_as_wanted() -> None:
    assert Watch().look(service("STOPPED", replicas=0), [], 0).done
    assert Watch().look(service("IDLE", replicas={"min": 0, "max": 2}), [], 0).done


@pytest.mark.parametrize("reason", ["no_fit", "model_missing", "model_unsupported", "engine_missing"])
def test_what_waiting_does_not_cure_ends_it_once_it_stands(reason: str) -> None:
    watch, bad = Watch(), service(reason=reason)
    assert watch.look(bad, [], 10.0).done is None
    assert watch.look(bad, [], 10.0 + SETTLE_SECONDS - 0.1).done is None
    look = watch.look(bad, [], 10.0 + SETTLE_SECONDS)
    assert look.done is False and look.detail == f"{reason}: why"


def test_a_reason_that_passes_starts_the_count_anew() -> None:
    watch = Watch()
    watch.look(service(reason="no_fit"), [], 0)
    watch.look(service(), [session("STARTING")], 1)
    assert watch.look(service(reason="no_fit"), [], SETTLE_SECONDS + 0.5).done is None


def test_the_reason_of_a_waiting_session_counts_as_well() -> None:
    watch, waiting = Watch(), [session("PENDING", reason="no_fit")]
    watch.look(service(), waiting, 0)
    assert watch.look(service(), waiting, SETTLE_SECONDS).done is False


def test_a_failed_start_is_tried_again_and_unhealthy_is_the_end() -> None:
    watch = Watch()
    assert watch.look(service(reason="start_exit"), [session("FAILED", reason="start_exit")], 100.0).done is None
    watch.look(service("UNHEALTHY", reason="crash_loop"), [], 200.0)
    assert watch.look(service("UNHEALTHY", reason="crash_loop"), [], 200.0 + SETTLE_SECONDS).done is False


def test_failures_are_told_with_their_reasons() -> None:
    assert failed([session("FAILED", reason="start_exit"), session("READY"), session("STOPPED")]) == [("x-FAILED", "start_exit: why")]
