"""Filters, devices, scores and the sentence about who refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.planning.devices import pick
from stoker.planning.need import Need, need_of
from stoker.planning.placement import Search, Verdict, impossible
from stoker.planning.refusals import Refusal
from stoker.planning.room import NodeRoom, Rooms
from stoker.planning.vitals import Vital, Watch
from stoker.records import Assignment, DeviceShare, Engine, Gpu, NodeRecord, Resolution, SessionRecord
from stoker.specs import ServiceSpec
from stoker.states import SessionStatus as S
from tests.support.drawn import GIB, NOW, gpu, node, session

BASE = Need(service="s", revision=1, group="default", cpu=1000, memory=GIB)


def need(**changes: Any) -> Need:
    return msgspec.structs.replace(BASE, **changes)


def whole(count: int = 1, memory: int = 0, **more: Any) -> Need:
    return need(gpus=count, share=100, gpu_memory=memory, **more)


def part(share: int, memory: int = 0) -> Need:
    return need(gpus=1, share=share, gpu_memory=memory)


def by_memory(size: int) -> Need:
    return need(gpus=1, share_of_memory=size, gpu_memory=size)


def with_gpu(**more: Any) -> NodeRecord:
    return msgspec.structs.replace(node(), gpus=(gpu(**more),))


def ask(
    wanted: Need, *nodes: NodeRecord, sessions: tuple[SessionRecord, ...] = (), vitals: dict[str, Vital] | None = None, **more: Any
) -> Verdict:
    return Search(Rooms({one.name: one for one in nodes}, sessions), vitals or {}).find(wanted, **more)


def why(wanted: Need, *nodes: NodeRecord, **more: Any) -> str:
    verdict = ask(wanted, *nodes, **more)
    assert verdict.best is None
    return verdict.reason("default").message


@pytest.mark.parametrize(
    ("wanted", "there", "sentence"),
    [
        (need(cpu=32_000), node(), "n1 has only 16 of the 32 CPU cores it needs"),
        (need(memory=65 * GIB), node(), "n1 has less memory than the 65GiB it needs"),
        (need(labels=(("zone", "a"),)), node(), "n1 lacks the label zone=a"),
        (need(nodes=("n2",)), node(), "n1 is not among placement.nodes"),
        (need(runtime="docker"), node(), "n1 offers no docker"),
        (need(engine="vllm==1"), node(engines=(Engine(name="vllm", version="2", prefix="/v"),)), "n1 has no vllm==1 installed"),
        (need(model="/m"), node(), "n1 has not read the model yet"),
        (need(model="/m"), node(facts={"/m": {"missing": "no such folder"}}), "n1 does not have the model /m"),
        (need(), node(cordoned=True), "n1 is cordoned"),
        (need(), node(draining_until=NOW), "n1 is being drained"),
        (whole(), node(), "n1 has no GPU"),
        (whole(gpu_models=("a100",)), node(gpus=2), "n1 has no GPU of model a100"),
        (whole(gpu_vendor="nvidia"), node(gpus=2), "n1 has no GPU of vendor nvidia"),
        (whole(3), node(), "n1 has no GPU"),
        (whole(3), node(gpus=2), "n1 has fewer than 3 GPUs of one model"),
        (whole(1, 90 * GIB), node(gpus=2), "n1 lacks 90GiB of GPU memory"),
        (by_memory(90 * GIB), node(gpus=2), "n1 lacks 90GiB of GPU memory"),
        (whole(), node(gpus=1, cordoned_gpus=("n1-g0",)), "n1 has GPUs that are not to be used (cordoned)"),
        (whole(1, 40 * GIB), with_gpu(foreign_memory=50 * GIB), "n1 lacks 40GiB of free GPU memory"),
        (whole(), with_gpu(status="fault"), "n1 has GPUs that are not to be used (fault)"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_sentence(wanted: Need, there: NodeRecord, sentence: str) -> None:
    assert why(wanted, there) == sentence


def test_refusals_are_counted_by_class() -> None:
    nodes = [node(f"n{i}", gpus=1) for i in range(3)]
    held = tuple(session(f"x-{i}", S.READY, on=f"n{i}", gpus=(DeviceShare(f"n{i}-g0", 100, 80 * GIB),)) for i in range(2))
    nodes[2] = msgspec.structs.replace(nodes[2], cordoned=True)
    verdict = ask(whole(1, 40 * GIB), *nodes, sessions=held)
    assert verdict.reason("default").message == "3 nodes: 2 lack 40GiB of free GPU memory, 1 is cordoned"
    assert verdict.reason("default").code == "no_fit"


def test_nodes_of_other_groups_and_removed_ones_are_not_asked() -> None:
    verdict = ask(need(), node("n1", group="other"), node("n2", removed=True))
    assert not verdict.refused and verdict.reason("default").code == "node_silent"
    assert "stoker worker" in verdict.reason("default").message


def test_silent_nodes_take_nothing_new() -> None:
    assert why(need(), node(), vitals={"n1": Vital.SILENT}) == "n1 does not answer"
    assert ask(need(), node("n1"), node("n2"), vitals={"n1": Vital.LOST}).best.node == "n2"  # type: ignore[union-attr]


def test_what_no_node_could_ever_give_is_told_from_a_busy_room() -> None:
    busy = session("x-1", S.READY, on="n1", gpus=(DeviceShare("n1-g0", 100, 0),))
    there = node(gpus=1, cordoned=True)
    assert impossible(whole(), {"n1": there}) is None and ask(whole(), there, sessions=(busy,)).best is None
    reason = impossible(whole(2), {"n1": there, "n2": node("n2")})
    assert reason and reason.code == "no_fit" and reason.message.startswith("more than any node could ever give: 2 nodes")
    assert impossible(whole(2), {}) is None


def test_a_shunned_node_is_asked_after_all_if_there_is_no_other() -> None:
    shunned = frozenset({"n1"})
    assert ask(need(), node("n1"), node("n2"), shunned=shunned).best.node == "n2"  # type: ignore[union-attr]
    assert ask(need(), node("n1"), shunned=shunned).best.node == "n1"  # type: ignore[union-attr]
    assert ask(need(), node("n1"), node("n2", cordoned=True), shunned=shunned).best.node == "n1"  # type: ignore[union-attr]
    full = session("x-1", S.READY, on="n2")
    assert full.assignment
    heavy = msgspec.structs.replace(
        full, assignment=msgspec.structs.replace(full.assignment, resolution=Resolution(variant="", why="", runtime="process", cpu=16_000))
    )
    assert ask(need(), node("n1"), node("n2"), sessions=(heavy,), shunned=shunned).best is None, "n2 frees up some day"
    assert ask(need(), node("n1"), avoided=shunned).best is None


def test_replicas_are_spread() -> None:
    one = session("s-1", S.READY, on="n1")
    assert ask(need(), node("n1"), node("n2", cpu=2000), sessions=(one,)).best.node == "n2"  # type: ignore[union-attr]
    assert ask(need(spread="none"), node("n1"), node("n2", cpu=2000), sessions=(one,)).best.node == "n1"  # type: ignore[union-attr]
    assert why(need(spread="require"), node("n1"), sessions=(one,)) == "n1 runs another replica already"
    old = msgspec.structs.replace(one, revision=0)
    assert ask(need(spread="require"), node("n1"), sessions=(old,)).best, "the one it replaces does not keep it away"


def test_work_without_gpus_stays_off_machines_that_have_them() -> None:
    assert ask(need(), node("n1", gpus=8, cpu=128_000), node("n2")).best.node == "n2"  # type: ignore[union-attr]


def test_shares_fill_the_fullest_device_and_leave_whole_ones() -> None:
    there = node(gpus=2)
    first = session("x-1", S.READY, on="n1", gpus=(DeviceShare("n1-g1", 25, 20 * GIB),))
    assert ask(part(50), there, sessions=(first,)).best.gpus == (DeviceShare("n1-g1", 50, 40 * GIB),)  # type: ignore[union-attr]
    assert ask(part(80), there, sessions=(first,)).best.gpus == (DeviceShare("n1-g0", 80, 64 * GIB),)  # type: ignore[union-attr]
    assert ask(whole(), there, sessions=(first,)).best.gpus == (DeviceShare("n1-g0", 100, 80 * GIB),)  # type: ignore[union-attr]
    assert why(whole(2), there, sessions=(first,)) == "n1 lacks 2 free GPUs of one model"


def test_memory_alone_is_a_share_by_memory() -> None:
    assert ask(by_memory(20 * GIB), node(gpus=1)).best.gpus == (DeviceShare("n1-g0", 25, 20 * GIB),)  # type: ignore[union-attr]
    assert ask(by_memory(20 * GIB + 1), node(gpus=1)).best.gpus == (DeviceShare("n1-g0", 26, 20 * GIB + 1),)  # type: ignore[union-attr]


def test_a_desktop_gpu_is_given_whole_when_what_is_free_covers_the_need() -> None:
    def desktop(**more: Any) -> NodeRecord:
        return with_gpu(foreign_memory=GIB, **more)

    assert ask(whole(1, 70 * GIB), desktop()).best and ask(whole(), desktop()).best
    assert ask(whole(1, 70 * GIB), desktop(status="foreign")).best
    assert ask(whole(), desktop(status="foreign")).reason("default").code == "foreign_gpu_process"
    assert ask(whole(1, 80 * GIB), desktop()).best is None


def test_several_devices_are_of_one_model() -> None:
    mixed = msgspec.structs.replace(node(), gpus=(gpu("a", "A100"), gpu("b", "H100"), gpu("c", "H100")))
    assert [g.device for g in ask(whole(2), mixed).best.gpus] == ["b", "c"]  # type: ignore[union-attr]
    assert ask(whole(3), mixed).best is None


def test_need_of_a_spec() -> None:
    spec = ServiceSpec.from_json(
        {"name": "s", "model": "/m", "resources": {"gpu_model": ["H100"]}, "placement": {"labels": {"b": "2", "a": "1"}, "spread": "none"}}
    )
    found = need_of(spec, 3, Resolution(variant="v", why="", runtime="process", gpus=2, gpu_share=100, engine="e==1"))
    assert found.model == "/m" and found.labels == (("a", "1"), ("b", "2")) and found.gpu_models == ("h100",) and found.whole
    assert (
        need_of(ServiceSpec.from_json({"name": "s", "model": "demo"}), 1, Resolution(variant="", why="", runtime="process")).model is None
    )


@pytest.mark.parametrize(
    ("silence", "since", "expected"),
    [(0, 0, Vital.ALIVE), (6, 0, Vital.ALIVE), (7, 0, Vital.SILENT), (15, 0, Vital.SILENT), (16, 0, Vital.LOST), (900, 0, Vital.LOST),
     (900, NOW - 15, Vital.SILENT), (900, NOW - 16, Vital.LOST), (3, NOW, Vital.ALIVE), (-1, 0, Vital.ALIVE)],
)  # fmt: skip
def test_nobody_is_lost_before_he_could_be_heard(silence: float, since: float, expected: Vital) -> None:
    watch = Watch(now=NOW, seen={"n1": NOW - silence}, watched_since=since)
    assert watch.vital(node()) is expected


def test_a_heartbeat_from_the_future_is_not_believed() -> None:
    assert Watch(now=NOW, seen={"n1": NOW + 3600}, watched_since=NOW - 10).vital(node()) is Vital.SILENT
    assert Watch(now=NOW, seen={"n1": NOW + 3600}, watched_since=NOW - 20).vital(node()) is Vital.LOST


def test_registering_is_a_sign_of_life() -> None:
    assert Watch(now=NOW, seen={}).vital(node(registered_at=NOW - 1)) is Vital.ALIVE


needs = st.one_of(
    st.builds(whole, st.integers(1, 3), st.sampled_from([0, 10 * GIB, 79 * GIB, 80 * GIB])),
    st.builds(part, st.integers(1, 99), st.sampled_from([0, GIB, 50 * GIB])),
    st.builds(by_memory, st.integers(1, 82 * GIB)),
    st.just(need()),
)


@given(
    st.lists(needs, max_size=25),
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["ok", "fault", "foreign"])), min_size=1, max_size=4),
)
def test_nothing_is_ever_sold_twice(wanted: list[Need], devices: list[tuple[int, str]]) -> None:
    gpus = tuple(Gpu(id=f"g{i}", model="H100", vendor="mock", memory=80 * GIB, foreign_memory=foreign * GIB, status=status)
                 for i, (foreign, status) in enumerate(devices))  # fmt: skip
    rooms = Rooms({"n1": msgspec.structs.replace(node(), gpus=gpus)})
    room, search, given_out = rooms.by_name["n1"], Search(rooms, {}), []
    for one in wanted:
        best = search.find(one).best
        if best is None:
            continue
        assert len({part.device for part in best.gpus}) == one.gpus, "distinct devices"
        room.hold(one.cpu, one.memory, best.gpus)
        given_out += [(one, part) for part in best.gpus]
    assert room.cpu >= 0 and room.memory >= 0
    for device in gpus:
        held = [(one, part) for one, part in given_out if part.device == device.id]
        assert sum(part.share for _, part in held) <= 100 and sum(part.memory for _, part in held) <= device.memory
        assert all(part.share > 0 for _, part in held) and not (held and device.status == "fault")
        assert len(held) == 1 or not any(one.whole for one, _ in held), "whole devices are its alone"


@given(st.lists(needs, min_size=1, max_size=10))
def test_what_is_kept_of_earlier_answers_is_what_asking_anew_would_give(wanted: list[Need]) -> None:
    rooms = Rooms({"n1": node(gpus=2), "n2": node("n2", gpus=1)})
    search = Search(rooms, {})
    for one in wanted:
        kept, anew = search.find(one), Search(rooms, {}).find(one)
        assert kept == anew
        if kept.best:
            rooms.by_name[kept.best.node].hold(one.cpu, one.memory, kept.best.gpus)


def test_booking_and_releasing_are_inverse() -> None:
    one = session("s-1", S.READY, on="n1", gpus=(DeviceShare("n1-g0", 40, GIB),))
    rooms = Rooms({"n1": node(gpus=1)}, [one])
    rooms.release(one)
    empty = NodeRoom(node(gpus=1))
    room = rooms.by_name["n1"]
    assert (room.cpu, room.memory, room.devices["n1-g0"].share, +room.replicas) == (empty.cpu, empty.memory, 0, +empty.replicas)


@pytest.mark.parametrize("status", list(S))
def test_who_holds(status: S) -> None:
    held = session("s-1", status, on="n1", gpus=(DeviceShare("n1-g0", 100, GIB),))
    sold = isinstance(pick(whole(), Rooms({"n1": node(gpus=1)}, [held]).by_name["n1"]), Refusal)
    assert sold is (status not in (S.PENDING, S.STOPPED, S.FAILED)), "LOST and DRAINING shares are not sold"


def test_assignment_without_room_is_no_crash() -> None:
    gone = session("s-1", S.READY, on="n9", gpus=(DeviceShare("x", 100, GIB),))
    vanished = session("s-2", S.READY, on="n1", gpus=(DeviceShare("vanished", 100, GIB),))
    assert ask(need(), node(), sessions=(gone, vanished)).best
    assert isinstance(vanished.assignment, Assignment)
