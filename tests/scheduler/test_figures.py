"""The words for why a number of sessions was changed are few, whatever the autoscaler's sentences say."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scheduler.actions import Decide
from scheduler.autoscale import Demand, wanted
from scheduler.figures import cause_of, counts
from scheduler.leader import Leader
from stoker.metrics.catalogue import CAUSES
from stoker.records import Load, ServiceRecord
from stoker.specs import ServiceSpec
from stoker.store.store import Store


def service(wanted: int = 0, **more: Any) -> ServiceRecord:
    return ServiceRecord(name="mine", project="default", owner="t", spec={}, wanted=wanted, **more)


@given(st.text())
def test_a_cause_is_one_of_few(why: str) -> None:
    assert cause_of(why) in CAUSES


def test_each_of_the_autoscalers_sentences_has_its_cause() -> None:
    def cause(replicas: object, now: float = 1000.0, before: int = 0, **load: Any) -> str:
        scaling = {"autoscaling": {"idle_seconds": 30}} if isinstance(replicas, dict) else {}
        spec = ServiceSpec.from_json({"name": "mine", "model": "demo", "replicas": replicas, **scaling})
        return cause_of(wanted(spec, service(before), Demand(loads=(Load(**load),), active_at=900.0), now)[1])

    assert cause(3) == cause({"min": 1, "max": 2}) == "spec"
    assert cause({"min": 0, "max": 2}, waiting=1) == "request"
    assert cause({"min": 0, "max": 2}, before=1) == "idle"


def test_a_cold_start_is_a_request_that_wakes_a_service_at_zero() -> None:
    woken = Decide(service(0), {"wanted": 1}, None, "request")
    assert counts(woken) == {"scale_decisions_total|up|request": 1, "cold_starts_total": 1}
    assert counts(Decide(service(0), {"wanted": 1}, None, "spec")) == {"scale_decisions_total|up|spec": 1}
    assert counts(Decide(service(2), {"wanted": 0}, None, "")) == {"scale_decisions_total|down|other": 1}
    assert counts(Decide(service(2), {"reason": None})) == {} == counts(Decide(service(2), {"wanted": 2}))


async def test_a_request_that_wakes_a_service_is_counted_by_the_scheduler(store: Store, scheduler: Leader) -> None:
    spec = ServiceSpec.from_json({"name": "mine", "model": "demo", "replicas": {"min": 0, "max": 1}}).to_json()
    record = ServiceRecord(name="mine", project="default", owner="t", spec=spec)
    await store.services.put(record, model_names=("mine",), new_revision=True, refresh=True, expect_version=None, actor="t")
    await store.services.wake("mine")
    async with asyncio.timeout(20):
        while not (found := (await store.figures.read(["mine"]))["mine"]):
            await asyncio.sleep(0.02)
    assert found == {"scale_decisions_total|up|request": 1, "cold_starts_total": 1}
