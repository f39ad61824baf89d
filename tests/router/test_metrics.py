"""/metrics: every figure of the contract, the same from every router, never backwards, and bounded whatever clients send."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from router.counting import Counting
from router.metrics import Metrics
from stoker.metrics.catalogue import families
from stoker.store.store import Store
from tests.support.admin import ADMIN, router

CONTRACT = {
    "requests_total": ("counter", {"service", "code"}),
    "request_seconds": ("histogram", {"service"}),
    "time_to_first_byte_seconds": ("histogram", {"service"}),
    "requests_in_flight": ("gauge", {"service"}),
    "requests_waiting": ("gauge", {"service"}),
    "llm_tokens_total": ("counter", {"service", "kind"}),
    "service_replicas": ("gauge", {"service", "kind"}),
    "sessions": ("gauge", {"status"}),
    "session_start_seconds": ("histogram", {"phase"}),
    "session_ends_total": ("counter", {"service", "reason"}),
    "cold_starts_total": ("counter", {"service"}),
    "gpu_allocated": ("gauge", {"node", "gpu"}),
    "gpu_utilization": ("gauge", {"node", "gpu"}),
    "gpu_foreign_bytes": ("gauge", {"node", "gpu"}),
    "jobs": ("gauge", {"status"}),
    "jobs_oldest_seconds": ("gauge", set()),
    "placement_seconds": ("histogram", set()),
    "scale_decisions_total": ("counter", {"service", "direction", "reason"}),
    "nodes": ("gauge", {"status"}),
    "store_up": ("gauge", set()),
    "leader": ("gauge", set()),
}


async def scrape(http: httpx2.AsyncClient) -> dict[str, Metric]:
    answer = await http.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {metric.name: metric for metric in text_string_to_metric_families(answer.text)}


def value(page: dict[str, Metric], name: str, **labels: str) -> float | None:
    samples = (s for metric in page.values() for s in metric.samples if s.name == f"stoker_{name}" and s.labels == labels)
    return next((sample.value for sample in samples), None)


async def test_every_figure_of_the_contract_with_its_kind_and_labels(store: Store, tmp_path: Path) -> None:
    known = {family.name: family for family in families()}
    assert {name: (family.kind, set(family.all_labels)) for name, family in known.items()} == CONTRACT
    async with router(store, tmp_path) as site, site.client() as admin:
        await admin.put("/admin/services/mine", json={"name": "mine", "model": "demo"})
        for family in families():
            if family.kind != "gauge":
                field = "|".join((family.name, *(of[0] if of else "200" for of in family.values)))
                fields = {f"{field}|b1": 2, f"{field}|us": 1_500_000} if family.kind == "histogram" else {field: 2}
                await store.database.client.hset(store.database.keys.counters("mine" if family.of_service else ""), mapping=fields)  # type: ignore[misc]
        await site.node(gpus=())
        await site.settled()
        page = await scrape(admin)
        assert set(page) == {"stoker_" + name.removesuffix("_total") for name in CONTRACT}, "nothing but the contract's"
        for name, (kind, labels) in CONTRACT.items():
            metric = page["stoker_" + name.removesuffix("_total")]
            assert metric.type == kind and metric.documentation
            for sample in metric.samples:
                assert set(sample.labels) - {"le"} == labels, name
            assert metric.samples or "gpu" in labels
        assert value(page, "placement_seconds_count") == 2 and value(page, "placement_seconds_sum") == 1.5
        assert value(page, "session_start_seconds_bucket", phase="pulling", le="0.1") == 0
        assert value(page, "session_start_seconds_bucket", phase="pulling", le="0.5") == 2
        assert value(page, "store_up") == 1 and value(page, "nodes", status="ready") == 1


@pytest.fixture
def counted() -> Callable[..., None]:
    def count(metrics: Metrics, times: int, service: str = "mine", seconds: float = 0.2) -> None:
        for _ in range(times):
            metrics.ended(service, 200, seconds, seconds / 2)

    return count


async def test_every_router_shows_the_sum_and_none_goes_backwards_when_one_dies(
    store: Store, tmp_path: Path, counted: Callable[..., None]
) -> None:
    total = {"service": "mine", "code": "200"}
    async with router(store, tmp_path) as one, one.client() as a:
        await a.put("/admin/services/mine", json={"name": "mine", "model": "demo"})
        async with router(store, tmp_path) as two, two.client() as b:
            await one.settled()
            await two.settled()
            counted(one.context.plane.metrics, 3)
            counted(two.context.plane.metrics, 4)
            assert value(await scrape(b), "requests_total", **total) in (4, 7)
            assert value(await scrape(a), "requests_total", **total) == 7, "what b showed is in the store"
            page = await scrape(b)
            assert value(page, "requests_total", **total) == 7
            assert value(page, "request_seconds_count", service="mine") == 7
            assert value(page, "request_seconds_bucket", service="mine", le="0.1") == 0
            assert value(page, "request_seconds_bucket", service="mine", le="0.25") == 7
            assert abs((value(page, "request_seconds_sum", service="mine") or 0) - 1.4) < 0.001
            counted(two.context.plane.metrics, 5)
        assert value(await scrape(a), "requests_total", **total) == 12, "the last of the other's were sent as it ended"
    async with router(store, tmp_path) as three, three.client() as c:
        await three.settled()
        assert value(await scrape(c), "requests_total", **total) == 12, "no router of then is left"


async def test_a_portion_counts_once_however_often_it_is_sent(store: Store, tmp_path: Path, counted: Callable[..., None]) -> None:
    async with router(store, tmp_path) as site, site.client() as admin:
        await admin.put("/admin/services/mine", json={"name": "mine", "model": "demo"})
        portion = {"mine": {"requests_total|200": 2}, "": {"requests_total|404": 1}, "unknown": {"requests_total|200": 9}}
        assert await store.figures.add("r9", 1, portion)
        assert not await store.figures.add("r9", 1, portion), "its answer was lost, say"
        assert await store.figures.add("r9", 2, portion) and await store.figures.add("r8", 1, portion)
        found = await store.figures.read(["mine", "unknown"])
        assert found == {"": {"requests_total|404": 3}, "mine": {"requests_total|200": 6}, "unknown": {}}


async def test_what_could_not_be_sent_is_shown_and_sent_later(store: Store, tmp_path: Path, counted: Callable[..., None]) -> None:
    total = {"service": "mine", "code": "200"}
    async with router(store, tmp_path) as site, site.client() as admin:
        await admin.put("/admin/services/mine", json={"name": "mine", "model": "demo"})
        await site.settled()
        counted(site.context.plane.metrics, 2)
        assert value(await scrape(admin), "requests_total", **total) == 2
        site.context.mirror.connected = False  # as the mirror has it while the store is away
        counted(site.context.plane.metrics, 3)
        page = await scrape(admin)
        assert value(page, "requests_total", **total) == 5 and value(page, "store_up") == 0 and value(page, "leader") == 0
        site.context.mirror.connected = True
        page = await scrape(admin)
        assert value(page, "requests_total", **total) == 5 and value(page, "store_up") == 1


async def test_odd_model_names_and_deleted_services_leave_no_series(store: Store, tmp_path: Path, counted: Callable[..., None]) -> None:
    async with router(store, tmp_path) as site, site.client() as admin:
        await admin.put("/admin/services/mine", json={"name": "mine", "model": "demo"})
        await site.settled()
        before = len((await admin.get("/metrics")).text.splitlines())
        for number in range(10_000):
            path = f"/v1/x-{number}" if number % 100 == 0 else "/v1/chat/completions"
            if number % 10 == 0:
                await admin.post(path, json={"model": f'odd-{number}"}}\n{{', "messages": []}, headers={"x-request-id": f"odd-{number}"})
            else:
                site.context.plane.metrics.ended("", 404, 0.001, None)
        text = (await admin.get("/metrics")).text
        assert "odd-" not in text and "/v1" not in text and len(text.splitlines()) - before < 60
        assert value(await scrape(admin), "requests_total", service="", code="404") is not None
        counted(site.context.plane.metrics, 2)
        assert 'service="mine"' in (await admin.get("/metrics")).text
        await store.database.commit("service", "mine", {}, delete=True)
        await site.settled()
        counted(site.context.plane.metrics, 1)  # a request that was still under way
        assert 'service="mine"' not in (await admin.get("/metrics")).text
        assert await store.figures.read(["mine"]) == {"": (await store.figures.read([]))[""], "mine": {}}


async def test_who_may_read_them(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path, host="0.0.0.0") as site:
        found = {}
        for caller in ("admin", "viewer", "deployer", "user", "none", "garbage"):
            async with site.client(caller) as http:
                found[caller] = (await http.get("/metrics")).status_code
        assert found == {"admin": 200, "viewer": 200, "deployer": 403, "user": 403, "none": 401, "garbage": 401}
    async with router(store, tmp_path) as site, site.client("none") as nobody:
        assert (await nobody.get("/metrics")).status_code == 200, "from this machine, where the router listens on it alone"


async def test_nothing_is_sent_while_nothing_is_counted(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path) as site:
        counting: Counting = site.context.plane.counting
        assert await counting.flush()
        key = store.database.keys.counted(site.context.plane.heartbeat.router)
        assert not await store.database.client.exists(key)


def test_the_documentation_has_every_figure_as_it_is() -> None:
    rows = [line for line in (Path(__file__).parents[2] / "docs/metrics.md").read_text().splitlines() if line.startswith("| `stoker_")]
    expected = [
        f"| `stoker_{family.name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.all_labels) or '–'} | {family.text} |"
        for family in families()
    ]
    assert rows == expected


async def test_a_killed_routers_counts_stay(store: Store, tmp_path: Path) -> None:
    words = {"STOKER_REDIS_URL": store.url, "STOKER_CLUSTER": store.database.keys.cluster, "STOKER_DATA_DIR": str(tmp_path)}
    unknown = {"service": "", "code": "404"}
    async with router(store, tmp_path) as site, site.client() as admin:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {**os.environ, **words, "STOKER_PORT": str(port), "STOKER_ADMIN_TOKEN": ADMIN}
        other = subprocess.Popen([sys.executable, "-m", "router"], env=environment, stderr=subprocess.DEVNULL)
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=admin.headers, trust_env=False) as http:
                async with asyncio.timeout(30):
                    while not await _listens(port):
                        await asyncio.sleep(0.05)
                for _ in range(5):
                    assert (await http.post("/v1/chat/completions", json={"model": "nothing"})).status_code == 404
                assert value(await scrape(http), "requests_total", **unknown) == 5
        finally:
            other.kill()
            other.wait(20)
        for _ in range(3):
            await admin.post("/v1/chat/completions", json={"model": "nothing"})
        assert value(await scrape(admin), "requests_total", **unknown) == 8


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
