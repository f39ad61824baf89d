"""Seeds of bad luck: after each step the invariants hold, and a minute after the last fault everything is as wanted.

STOKER_SIMULATION_SEEDS says how many; a failing seed is in the test's name and replays alone.
"""

from __future__ import annotations

import os

import pytest

from stoker.states import SessionStatus
from tests.simulation.faults import Faults
from tests.simulation.model_world import World

SEEDS = int(os.environ.get("STOKER_SIMULATION_SEEDS", "200"))
GROUPS = 20
_S = SessionStatus


def play(seed: int) -> None:
    world = World(seed, nodes=1 + seed % 3)
    faults = Faults(world)
    world.late = world.rng.choice((0.0, 3.0))
    world.apply("whole", 2, resources={"gpu": 1, "cpu": 0.1, "memory": "1GiB"})
    world.apply("shares", 3, resources={"gpu": 0.4, "cpu": 0.1, "memory": "1GiB"}, priority=50)
    world.apply("plain", {"min": 0, "max": 2}, rollout={"max_surge": 0, "max_unavailable": 1})
    world.run(5)
    for _ in range(world.rng.randint(10, 60)):
        if world.rng.random() < 0.4:
            faults.strike()
        faults.pass_second()
        world.run(1)
    faults.heal()
    pauses = [one.backoff.not_before - world.now for one in world.store.services.values()]
    world.run(60 + max([0.0, *pauses]))
    assert not world.unsettled(), world.unsettled()
    assert world.actions() == []


@pytest.mark.parametrize("group", range(GROUPS))
def test_seeds(group: int) -> None:
    for seed in range(group, SEEDS, GROUPS):
        try:
            play(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_a_twelve_minute_start_that_fails_five_times_is_a_crash_loop() -> None:
    world = World(1, nodes=1)
    world.apply("slow", 1)
    node = world.nodes["n0"]
    node.start_seconds, node.fail_after = (900.0, 900.0), 720.0
    node.bad_starts = ["start_exit"] * 5
    world.run(4 * 720 + 60)
    assert not world.store.services["slow"].backoff.gave_up and world.store.services["slow"].backoff.failures == 4
    world.run(720 + 30)
    state = world.store.services["slow"].backoff
    assert state.gave_up and state.failures == 5 and state.last is not None and state.last.code == "start_exit"
    world.run(30 + 900)  # it is tried for ever, and heals once the cause is gone
    assert not world.unsettled() and not world.store.services["slow"].backoff.gave_up


def test_an_outage_of_the_surroundings_for_half_an_hour_heals_unaided() -> None:
    world = World(2)
    world.apply("pulled", 2)
    for node in world.nodes.values():
        node.bad_starts = ["image_pull"] * 1000
    starts: set[str] = set()
    for _ in range(1800):
        world.run(1)
        starts |= {s.id for s in world.store.sessions.values() if s.status in (_S.STARTING, _S.FAILED)}
        assert not world.store.services["pulled"].backoff.gave_up
    assert 10 < len(starts) < 60, "the pauses grow, the tries go on"
    assert world.store.services["pulled"].backoff.last.code == "image_pull"  # type: ignore[union-attr]
    for node in world.nodes.values():
        node.bad_starts = []
    world.run(300 + 60)
    assert not world.unsettled()


def test_a_new_revision_after_giving_up_starts_afresh() -> None:
    world = World(3, nodes=1)
    world.apply("broken", 1)
    world.nodes["n0"].bad_starts = ["start_exit"] * 5
    for _ in range(200):
        if not world.store.services["broken"].backoff.gave_up:
            world.step()
    assert world.store.services["broken"].backoff.gave_up
    world.nodes["n0"].bad_starts = []
    world.apply("broken", 1, env={"FIXED": "1"})
    world.run(10)
    assert not world.unsettled() and world.store.services["broken"].backoff.failures == 0


def test_a_lost_node_is_replaced_within_twenty_seconds_and_its_surplus_goes_when_it_is_back() -> None:
    world = World(4, nodes=3, gpus=1)
    world.apply("one", 1, resources={"gpu": 1, "cpu": 0.1, "memory": "1GiB"})
    world.run(10)
    (first,) = world.store.sessions.values()
    world.nodes[first.node or ""].connected = False
    world.run(15 + 5)
    ready = [s for s in world.store.sessions.values() if s.status is _S.READY]
    assert len(ready) == 1 and ready[0].node != first.node and world.store.sessions[first.id].status is _S.LOST
    world.nodes[first.node or ""].connected = True
    world.run(10)
    assert not world.unsettled() and len(world.nodes[first.node or ""].running) == 0
