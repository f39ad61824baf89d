"""What a pass decides: one table of situations, and what holds for all of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scheduler.actions import (
    Action,
    Create,
    Decide,
    Drain,
    Forget,
    ForgetNode,
    Hasten,
    KeepPending,
    Lose,
    Place,
    Prune,
    Unplace,
    Withdraw,
    WriteOff,
)
from scheduler.snapshot import Limits
from stoker.records import Backoff, DeviceShare, Load, Reason, RouteHealth, ServiceRecord, SessionRecord
from stoker.states import SessionStatus as S
from tests.support.drawn import GIB, NOW, RESOLUTION, failed, node, plan, service, session, snapshot

ROUTERS = {"r1": {"s": Load(in_flight=1)}}


def settled(name: str = "s", replicas: object = 1, **more: Any) -> ServiceRecord:
    """A service that was resolved and wants what it should."""
    fields: dict[str, Any] = {"wanted": replicas, "resolved": RESOLUTION, "resolved_revision": more.get("revision", 1)}
    return service(name, replicas, **(fields | more))


def kinds(actions: list[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


def ready(id: str = "s-1", on: str = "n1", **more: Any) -> SessionRecord:
    return session(id, S.READY, on=on, **more)


def only(actions: list[Action], kind: type[Any]) -> Any:
    (found,) = [action for action in actions if isinstance(action, kind)]
    return found


# coming up


def test_a_new_service_is_resolved_made_and_placed_in_one_pass() -> None:
    actions = plan(snapshot([node()], [service(replicas=2)]))
    assert kinds(actions) == ["Decide", "Decide", "Create", "Create", "Place", "Place"]
    wanted, resolved = actions[0], actions[1]
    assert isinstance(wanted, Decide) and wanted.changes == {"wanted": 2} and wanted.event and "0 -> 2" in wanted.event.message
    assert isinstance(resolved, Decide) and resolved.changes["resolved"].variant == "demo" and resolved.changes["resolved_revision"] == 1
    place = actions[-1]
    assert isinstance(place, Place) and place.node == "n1" and place.assignment.boot_id == "n1-boot" and place.assignment.revision == 1


def test_as_wanted_means_nothing_to_do() -> None:
    assert plan(snapshot([node()], [settled()], [ready()])) == []


def test_a_model_that_no_node_has_is_said_and_nothing_is_made() -> None:
    facts = {"/m": {"missing": "no folder /m"}}
    actions = plan(snapshot([node(facts=facts)], [service(spec={"model": "/m"})]))
    assert kinds(actions) == ["Decide", "Decide"]
    assert actions[1].changes["reason"].code == "model_missing" and "/m" in actions[1].changes["reason"].message  # type: ignore[union-attr]


def test_nodes_that_have_not_read_the_model_are_waited_for_and_then_named() -> None:
    fresh = service(spec={"model": "/m"}, updated_at=NOW - 1)
    assert all("reason" not in action.changes for action in plan(snapshot([node()], [fresh])) if isinstance(action, Decide))
    late = service(spec={"model": "/m"}, updated_at=NOW - 60)
    assert plan(snapshot([node()], [late]))[-1].changes["reason"].code == "model_missing"  # type: ignore[union-attr]


def test_hf_models_say_what_to_do() -> None:
    reason = plan(snapshot([node()], [service(spec={"model": "hf:org/name"})]))[-1].changes["reason"]  # type: ignore[union-attr]
    assert reason.code == "model_missing" and "hf download org/name" in reason.message


def test_without_any_node_the_reason_says_to_start_one() -> None:
    reason = plan(snapshot([], [service()]))[-1].changes["reason"]  # type: ignore[union-attr]
    assert reason.code == "node_silent" and "stoker worker" in reason.message


def test_more_than_any_node_could_give_is_said_at_the_service() -> None:
    actions = plan(snapshot([node(gpus=1)], [service(spec={"resources": {"gpu": 2}})]))
    assert not any(isinstance(action, Create) for action in actions)
    reason = actions[-1].changes["reason"]  # type: ignore[union-attr]
    assert reason.code == "no_fit" and reason.message.startswith("more than any node could ever give: n1 has fewer than 2 GPUs")


def test_a_busy_room_leaves_it_pending_with_a_reason() -> None:
    busy = session("x-1", S.READY, on="n1", gpus=(DeviceShare("n1-g0", 100, 0),))
    actions = plan(snapshot([node(gpus=1)], [service(spec={"resources": {"gpu": 1}}), settled("x")], [busy]))
    assert only(actions, KeepPending).reason == Reason("no_fit", "n1 lacks a free GPU")


def test_the_more_important_is_placed_first_then_the_older() -> None:
    low, high = settled("low", spec={"priority": 1}), settled("high", spec={"priority": 90})
    old, young = session("low-1", S.PENDING, created_at=NOW - 50), session("high-1", S.PENDING, created_at=NOW - 1)
    older = session("high-2", S.PENDING, created_at=NOW - 2)
    one = msgspec.structs.replace(RESOLUTION, cpu=10_000)
    services = [msgspec.structs.replace(low, resolved=one), msgspec.structs.replace(high, resolved=one, wanted=2)]
    services[1] = msgspec.structs.replace(services[1], spec={**services[1].spec, "replicas": 2})
    actions = plan(snapshot([node(), node("n2")], services, [old, young, older]))
    assert [a.session.id for a in actions if isinstance(a, Place)] == ["high-2", "high-1"]
    assert only(actions, KeepPending).session.id == "low-1"


def test_the_model_is_told_as_the_node_has_it() -> None:
    here = {"/m": {"kind": "builtin", "path": "/m", "digest": "1"}}
    there = {"/m": {"kind": "builtin", "path": "/mnt/m", "digest": "2"}}
    one = settled(spec={"model": "/m"}, resolved=msgspec.structs.replace(RESOLUTION, model_path="/m", facts_digest="1"))
    nodes = [node(facts=here, cordoned=True), node("n2", facts=there)]
    resolution = only(plan(snapshot(nodes, [one])), Place).assignment.resolution
    assert (resolution.model_path, resolution.facts_digest) == ("/mnt/m", "2")


def test_a_plain_restart_keeps_what_was_resolved_and_a_refresh_does_not() -> None:
    kept = settled(revision=2, resolved_revision=1, resolve_at=1)
    actions = plan(snapshot([node()], [kept], [ready()]))
    assert not any(isinstance(action, Decide) for action in actions) and isinstance(actions[0], Create)
    anew = settled(revision=2, resolved_revision=1, resolve_at=2)
    assert any(isinstance(action, Decide) and "resolved" in action.changes for action in plan(snapshot([node()], [anew], [ready()])))


# failing


def test_a_failed_session_is_made_anew_and_waits_for_the_pause() -> None:
    actions = plan(snapshot([node()], [settled()], [failed("s-1", NOW - 0.5)]))
    assert kinds(actions) == ["Decide", "Create", "KeepPending"]
    assert actions[0].changes["backoff"].failures == 1 and only(actions, KeepPending).reason.code == "start_exit"  # type: ignore[union-attr]
    waiting = [failed("s-1", NOW - 0.5), session("s-2", S.PENDING)]
    assert "Place" not in kinds(plan(snapshot([node()], [settled()], waiting)))
    assert "Place" in kinds(plan(snapshot([node()], [settled()], waiting, now=NOW + 0.5)))


def test_given_up_it_still_tries_with_long_pauses() -> None:
    dead = [failed(f"s-{i}", NOW - 20 + i) for i in range(5)]
    actions = plan(snapshot([node()], [settled()], dead))
    assert actions[0].changes["backoff"].gave_up  # type: ignore[union-attr]
    assert isinstance(actions[1], Create)
    assert "Place" in kinds(plan(snapshot([node()], [settled()], dead, now=NOW + 5)))


def test_a_node_that_failed_twice_is_passed_over() -> None:
    dead = [failed(f"s-{i}", NOW - 30 + i, on="n1") for i in range(2)]
    assert only(plan(snapshot([node(), node("n2", cpu=1000)], [settled()], dead)), Place).node == "n2"


def test_a_refusal_unplaces_and_another_node_is_asked() -> None:
    refused = session("s-1", S.PLACED, on="n1", refused=Reason("held_by", "GPU 0 is held by another"))
    actions = plan(snapshot([node(), node("n2")], [settled()], [refused]))
    assert only(actions, Unplace).reason == Reason("held_by", "n1 refused it: GPU 0 is held by another")
    assert only(actions, Place).node == "n2"


def test_the_only_node_is_asked_again_after_a_moment_and_its_reason_stays() -> None:
    refused = session("s-1", S.PLACED, on="n1", refused=Reason("port_taken", "port 8000 is taken"))
    first = snapshot([node()], [settled()], [refused])
    assert not any(isinstance(action, Place | KeepPending) for action in plan(first)), "what the node said stands"
    avoid = Backoff(avoid={"n1": NOW - 0.1})
    pending = session("s-1", S.PENDING, reason=Reason("port_taken", "n1 refused it: port 8000 is taken"))
    assert "Place" in kinds(plan(snapshot([node()], [settled(backoff=avoid)], [pending])))


def test_placed_for_long_on_a_living_node_does_not_hang_for_ever() -> None:
    stuck = session("s-1", S.PLACED, on="n1", placed_at=NOW - 31)
    actions = plan(snapshot([node(), node("n2")], [settled()], [stuck]))
    assert "has not taken it up" in only(actions, Unplace).reason.message and only(actions, Place).node == "n2"
    patient = session("s-1", S.PLACED, on="n1", placed_at=NOW - 29)
    assert plan(snapshot([node()], [settled()], [patient])) == []


def test_unhealthy_for_long_is_replaced_one_at_a_time_and_only_if_a_router_sees_it() -> None:
    health = {f"s-{i}": RouteHealth(health="unhealthy", since=NOW - 301) for i in (1, 2)}
    two = [ready("s-1", ready_at=NOW - 900), ready("s-2", ready_at=NOW - 900)]
    actions = plan(snapshot([node()], [settled(replicas=2)], two, health=health, loads=ROUTERS))
    assert only(actions, Drain).reason.code == "probe_failed" and only(actions, Drain).until == NOW and "Create" in kinds(actions)
    assert plan(snapshot([node()], [settled(replicas=2)], two, health=health)) == []
    young = [ready("s-1", ready_at=NOW - 10), ready("s-2", ready_at=NOW - 10)]
    assert plan(snapshot([node()], [settled(replicas=2)], young, health=health, loads=ROUTERS)) == []


# scaling


def test_scaling_in_withdraws_what_has_no_place_and_drains_the_youngest() -> None:
    sessions = [ready("s-1", created_at=NOW - 9), ready("s-2", created_at=NOW - 5), session("s-3", S.PENDING)]
    actions = plan(snapshot([node()], [settled(replicas=1, wanted=3)], sessions))
    assert only(actions, Withdraw).session.id == "s-3"
    drain = only(actions, Drain)
    assert drain.session.id == "s-2" and drain.until == NOW + 300


def test_zero_and_back() -> None:
    asleep = settled(replicas={"min": 0, "max": 2}, wanted=0)
    assert plan(snapshot([node()], [asleep], loads={"r1": {}})) == []
    woken = msgspec.structs.replace(asleep, woken_at=NOW)
    assert kinds(plan(snapshot([node()], [woken], loads={"r1": {}}))) == ["Decide", "Create", "Place"]
    idle = settled(replicas={"min": 0, "max": 2}, wanted=1)
    assert kinds(plan(snapshot([node()], [idle], [ready(ready_at=NOW - 400)], loads={"r1": {}}))) == ["Decide", "Drain"]
    assert plan(snapshot([node()], [idle], [ready(ready_at=NOW - 400)], loads={"r1": {"s": Load(in_flight=1)}})) == []
    assert plan(snapshot([node()], [idle], [ready(ready_at=NOW - 400)], loads={"r1": {}}, watched_since=NOW - 9)) == []


@pytest.mark.parametrize(("wish", "until"), [("drain", NOW + 300), ("kill", NOW)])
def test_a_wish_is_followed_and_the_session_replaced(wish: str, until: float) -> None:
    actions = plan(snapshot([node()], [settled()], [ready(wish=wish)]))
    assert only(actions, Drain).until == until and only(actions, Drain).reason.code == "stopped_by_user" and "Place" in kinds(actions)
    assert kinds(plan(snapshot([node()], [settled()], [session("s-1", S.PENDING, wish=wish)]))) == ["Withdraw", "Create", "Place"]


def test_a_kill_shortens_a_drain() -> None:
    draining = session("s-2", S.DRAINING, on="n1", drain_until=NOW + 200, wish="kill")
    assert only(plan(snapshot([node()], [settled()], [ready(), draining])), Hasten).until == NOW


# replacing


def test_a_new_revision_comes_up_before_the_old_goes() -> None:
    fresh = settled(revision=2)
    assert kinds(plan(snapshot([node()], [fresh], [ready()]))) == ["Create", "Place"]
    assert plan(snapshot([node()], [fresh], [ready(), session("s-2", S.STARTING, on="n1", revision=2)])) == []
    drain = only(plan(snapshot([node()], [fresh], [ready(), ready("s-2", revision=2)])), Drain)
    assert drain.session.id == "s-1" and "revision 2" in drain.reason.message


@pytest.mark.parametrize(
    ("rollout", "nodes", "goes"),
    [({}, 1, True), ({}, 2, False), ({"if_no_room": "replace"}, 2, True), ({"if_no_room": "wait"}, 1, False)],
)
def test_without_room_the_old_one_goes_first_where_that_is_wanted(rollout: dict[str, str], nodes: int, goes: bool) -> None:
    big = msgspec.structs.replace(RESOLUTION, gpus=1, gpu_share=100)
    fresh = settled(revision=2, resolved=big, spec={"rollout": rollout})
    cluster = [node("n1", gpus=1), node("n2")][:nodes]
    actions = plan(snapshot(cluster, [fresh], [ready(gpus=(DeviceShare("n1-g0", 100, 80 * GIB),))]))
    assert ("Drain" in kinds(actions)) is goes and "KeepPending" in kinds(actions)


def test_the_old_one_stays_where_its_room_would_not_do_either() -> None:
    big = msgspec.structs.replace(RESOLUTION, cpu=16_000)
    fresh = settled(revision=2, resolved=big)
    other = settled("x", 1)
    actions = plan(snapshot([node()], [fresh, other], [ready(), ready("x-1")]))
    assert "Drain" not in kinds(actions)


def test_a_new_spec_that_cannot_be_resolved_leaves_the_old_sessions() -> None:
    fresh = settled(revision=2, resolved_revision=1, resolve_at=2, spec={"model": "/m"}, updated_at=NOW - 60)
    assert kinds(plan(snapshot([node(facts={"/m": {"missing": "gone"}})], [fresh], [ready()]))) == ["Decide"]


def test_a_cordoned_node_keeps_what_it_has() -> None:
    assert plan(snapshot([node(cordoned=True)], [settled()], [ready()])) == []


def test_a_draining_node_gives_up_its_sessions_once_they_are_replaced() -> None:
    nodes = [node(draining_until=NOW + 100), node("n2")]
    assert only(plan(snapshot(nodes, [settled()], [ready()])), Place).node == "n2"
    assert plan(snapshot(nodes, [settled()], [ready(), session("s-2", S.STARTING, on="n2")])) == []
    drain = only(plan(snapshot(nodes, [settled()], [ready(), ready("s-2", "n2")])), Drain)
    assert drain.session.id == "s-1" and drain.until == NOW + 100


def test_a_draining_node_does_not_wait_for_room_that_is_not_there() -> None:
    actions = plan(snapshot([node(draining_until=NOW + 100)], [settled()], [ready()]))
    assert only(actions, Drain).session.id == "s-1" and only(actions, KeepPending).reason.message == "n1 is being drained"


def test_a_draining_node_does_not_wait_beyond_its_deadline() -> None:
    nodes = [node(draining_until=NOW + 5), node("n2")]
    assert only(plan(snapshot(nodes, [settled()], [ready(), session("s-2", S.STARTING, on="n2")])), Drain).session.id == "s-1"


# nodes


def test_a_silent_node_keeps_its_sessions_and_gets_none() -> None:
    assert plan(snapshot([node(), node("n2")], [settled()], [ready()], seen={"n1": NOW - 10})) == []
    assert only(plan(snapshot([node(), node("n2", cpu=500)], [settled()], seen={"n1": NOW - 10})), Place).node == "n2"


def test_a_lost_node_loses_its_sessions_which_come_up_elsewhere() -> None:
    actions = plan(snapshot([node(), node("n2")], [settled()], [ready()], seen={"n1": NOW - 16}))
    assert only(actions, Lose).reason.code == "node_lost" and only(actions, Place).node == "n2"


def test_after_an_outage_of_the_store_nobody_is_lost_in_a_rush() -> None:
    assert plan(snapshot([node()], [settled()], [ready()], seen={"n1": NOW - 900}, watched_since=NOW - 3)) == []


def lost(id: str = "s-1", **more: Any) -> SessionRecord:
    return msgspec.structs.replace(session(id, S.LOST, on="n1", ready_at=NOW - 50, address="h:1"), **more)


def test_lost_shares_are_not_sold() -> None:
    gone = msgspec.structs.replace(lost(), assignment=session("s-1", S.READY, on="n1", gpus=(DeviceShare("n1-g0", 100, 0),)).assignment)
    one = settled(resolved=msgspec.structs.replace(RESOLUTION, gpus=1, gpu_share=100))
    assert "Place" not in kinds(plan(snapshot([node(gpus=1)], [one], [gone], seen={"n1": NOW - 99})))


def test_who_comes_back_is_kept_where_needed_and_drained_where_replaced() -> None:
    assert kinds(plan(snapshot([node()], [settled()], [lost()]))) == ["Recover"]
    starting = session("s-2", S.STARTING, on="n2")
    assert kinds(plan(snapshot([node(), node("n2")], [settled()], [lost(), starting]))) == ["Recover", "Drain"]
    assert kinds(plan(snapshot([node(), node("n2")], [settled()], [lost(), ready("s-2", "n2")]))) == ["Drain"]
    assert kinds(plan(snapshot([node()], [settled()], [lost(address=None)]))) == ["Drain", "Create", "Place"]
    assert kinds(plan(snapshot([node()], [settled(revision=2)], [lost(), ready("s-2", revision=2)]))) == ["Drain"]
    assert kinds(plan(snapshot([node()], [settled()], [ready("s-2"), lost(draining_at=NOW - 5)]))) == ["Drain"]


@pytest.mark.parametrize("status", [S.READY, S.STARTING, S.DRAINING, S.LOST])
def test_a_removed_node_writes_its_sessions_off(status: S) -> None:
    gone = session("s-1", status, on="n1", address="h:1")
    actions = plan(snapshot([node(removed=True), node("n2")], [settled()], [gone]))
    assert only(actions, WriteOff).reason.code == "node_lost" and only(actions, Place).node == "n2"
    assert only(actions, ForgetNode).node == "n1"


def test_a_reboot_writes_off_what_was_lost_and_gives_the_worker_a_moment_for_the_rest() -> None:
    rebooted = node(boot_id="another", registered_at=NOW - 1)
    assert kinds(plan(snapshot([rebooted], [settled()], [lost()]))) == ["WriteOff", "Create", "Place"]
    assert plan(snapshot([rebooted], [settled()], [ready()])) == []
    later = msgspec.structs.replace(rebooted, registered_at=NOW - 16)
    assert kinds(plan(snapshot([later], [settled()], [ready()]))) == ["Lose", "WriteOff", "Create", "Place"]


# going


def deleted(**more: Any) -> ServiceRecord:
    return settled(deleted_at=NOW - 1, **more)


def test_a_deleted_service_drains_then_is_forgotten() -> None:
    sessions = [ready(), session("s-2", S.PENDING), session("s-3", S.STARTING, on="n1"), failed("s-4", NOW - 9)]
    actions = plan(snapshot([node()], [deleted()], sessions))
    assert kinds(actions) == ["Drain", "Withdraw", "Drain"]
    assert actions[0].until == NOW + 300 and actions[0].reason.code == "service_removed"  # type: ignore[union-attr]
    ended = [session("s-1", S.STOPPED, on="n1", ended_at=NOW), failed("s-4", NOW - 9)]
    assert kinds(plan(snapshot([node()], [deleted()], ended))) == ["Prune", "Prune", "Forget"]
    assert only(plan(snapshot([node()], [deleted()])), Forget).service == "s"


def test_deleted_at_once_leaves_no_time() -> None:
    assert only(plan(snapshot([node()], [deleted(drop_now=True)], [ready()])), Drain).until == NOW
    draining = session("s-1", S.DRAINING, on="n1", drain_until=NOW + 100)
    assert only(plan(snapshot([node()], [deleted(drop_now=True)], [draining])), Hasten).until == NOW
    assert plan(snapshot([node()], [deleted()], [draining])) == []


def test_a_deleted_service_waits_for_what_is_lost() -> None:
    assert plan(snapshot([node()], [deleted()], [lost()], seen={"n1": NOW - 99})) == []
    assert kinds(plan(snapshot([node()], [deleted()], [lost()]))) == ["Drain"]


def test_sessions_of_nobody_are_drained_and_forgotten() -> None:
    assert only(plan(snapshot([node()], [], [ready("x-1")])), Drain).until == NOW
    assert only(plan(snapshot([node()], [], [failed("x-1", NOW)])), Prune).id == "x-1"


def test_ended_sessions_are_kept_up_to_a_number_failures_before_those_without_a_place() -> None:
    ended = [failed(f"s-{i}", NOW - 900 + i) for i in range(3)]
    never = [session(f"s-w{i}", S.STOPPED, ended_at=NOW - 1) for i in range(3)]
    ready_since = ready("s-9", ready_at=NOW - 1)
    actions = plan(snapshot([node()], [settled()], [*ended, *never, ready_since], limits=Limits(ended_sessions_kept=2)))
    assert {a.id for a in actions if isinstance(a, Prune)} == {"s-0", "s-w0", "s-w1", "s-w2"}


def test_a_spec_of_a_newer_version_is_left_alone() -> None:
    strange = settled(spec={"from_the_future": 1})
    assert plan(snapshot([node()], [strange], [ready(), session("s-2", S.PENDING)])) == []
