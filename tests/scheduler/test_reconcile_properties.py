"""What holds for every plan, whatever the cluster looks like: drawn at random, carried out on the model of the store."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.snapshot import Snapshot
from stoker.records import DeviceShare, NodeRecord, Reason, ServiceRecord, SessionRecord
from stoker.states import HOLDING, SessionStatus
from tests.simulation.model_store import ModelStore
from tests.support.drawn import GIB, NOW, RESOLUTION, ids, node, plan, service, session, snapshot

_S = SessionStatus
NODES = ("n1", "n2")
PRIORITIES = st.integers(0, 100)


@st.composite
def services(draw: st.DrawFn, name: str) -> ServiceRecord:
    replicas = draw(st.sampled_from([0, 1, 2, 3, {"min": 0, "max": 2}, {"min": 1, "max": 3}]))
    revision = draw(st.integers(1, 2))
    share = draw(st.sampled_from([0, 40, 100]))
    need = msgspec.structs.replace(RESOLUTION, gpus=int(share > 0), gpu_share=share)
    spec: dict[str, Any] = {"priority": draw(PRIORITIES), "rollout": {"if_no_room": draw(st.sampled_from(["wait", "replace"]))}}
    return service(
        name, replicas, revision=revision, spec=spec, wanted=draw(st.integers(0, 3)), resolved=need, resolved_revision=revision,
        deleted_at=draw(st.sampled_from([None, None, None, NOW - 5])), drop_now=draw(st.booleans()),
        woken_at=draw(st.sampled_from([0.0, NOW - 1])),
    )  # fmt: skip


@st.composite
def sessions(draw: st.DrawFn, owners: tuple[str, ...]) -> list[SessionRecord]:
    """Any statuses, but never more booked on a device than it has."""
    free: dict[str, int] = defaultdict(lambda: 100)
    made = []
    for number in range(draw(st.integers(0, 10))):
        owner, status = draw(st.sampled_from(owners)), draw(st.sampled_from(list(_S)))
        where, share = draw(st.sampled_from(NODES)), draw(st.sampled_from([0, 40, 100]))
        device = f"{where}-g{draw(st.integers(0, 1))}"
        if status in HOLDING and share > free[device]:
            continue
        free[device] -= share if status in HOLDING else 0
        gpus = (DeviceShare(device, share, 80 * GIB * share // 100),) if share else ()
        more: dict[str, Any] = {"revision": draw(st.integers(1, 2)), "wish": draw(st.sampled_from([None, None, None, "drain", "kill"]))}
        if status in (_S.FAILED, _S.STOPPED):
            more |= {
                "ended_at": NOW - draw(st.floats(0, 900)),
                "reason": Reason(draw(st.sampled_from(["start_exit", "image_pull"])), "it broke"),
            }
        if status is _S.LOST:
            more |= {"address": draw(st.sampled_from([None, "h:1"])), "ready_at": NOW - 90}
        if status is _S.PLACED:
            more |= {"refused": draw(st.sampled_from([None, Reason("held_by", "held")]))}
        made.append(session(f"{owner}-{number}", status, on=None if status is _S.PENDING else where, gpus=gpus, **more))
    return made


@st.composite
def nodes(draw: st.DrawFn, name: str) -> NodeRecord:
    return node(
        name, gpus=2, cordoned=draw(st.booleans()), removed=draw(st.sampled_from([False, False, True])),
        draining_until=draw(st.sampled_from([None, None, NOW + 60, NOW - 1])),
    )  # fmt: skip


@st.composite
def clusters(draw: st.DrawFn) -> Snapshot:
    seen = {name: NOW - draw(st.sampled_from([0.0, 1.0, 10.0, 60.0])) for name in NODES}
    return snapshot(
        [draw(nodes(name)) for name in NODES],
        [draw(services(name)) for name in ("a", "b")],
        draw(sessions(("a", "b", "nobody"))),
        seen=seen,
        watched_since=draw(st.sampled_from([0.0, NOW - 1])),
        loads={"r1": {}},
    )


def carried_out(before: Snapshot) -> Snapshot:
    """The cluster after the plan; every action must be one that the store takes."""
    store = ModelStore()
    store.now = before.now
    store.services, store.sessions, store.nodes = dict(before.services), dict(before.sessions), dict(before.nodes)
    for action in plan(before):
        assert store.carry(action), action
    return msgspec.structs.replace(before, services=store.services, sessions=store.sessions, nodes=store.nodes)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(clusters())
def test_every_plan(before: Snapshot) -> None:
    after = carried_out(before)
    for name, there in after.nodes.items():
        held: dict[str, int] = defaultdict(int)
        for one in after.sessions.values():
            if one.node == name and one.status in HOLDING and one.assignment:
                for part in one.assignment.gpus:
                    held[part.device] += part.share
        assert all(share <= 100 for share in held.values()), there
    for one in after.sessions.values():
        if one.status is _S.PENDING and one.service in after.services:
            assert one.reason is not None, "whoever waits knows why"
        if before.sessions.get(one.id) is None and one.status is _S.PLACED:
            assert one.node is not None
            there = before.nodes[one.node]
            assert not there.cordoned and not there.removed and there.draining_until is None
            assert before.now - before.watch.seen[one.node] <= 6.0
    for name, known in after.services.items():
        if known.deleted_at is None:
            replicas = known.spec["replicas"]
            least, most = (replicas["min"], replicas["max"]) if isinstance(replicas, dict) else (replicas, replicas)
            assert least <= known.wanted <= most, name
    settled = carried_out(carried_out(after))
    assert plan(settled) == [], "it comes to rest"


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(clusters())
def test_the_same_cluster_gives_the_same_plan(before: Snapshot) -> None:
    assert plan(before) == plan(before)
    assert ids()("a") == "a-new1"
