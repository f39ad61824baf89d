"""Webhooks: signed so that OpenAI's own library accepts them, tried again, and never in the way of anything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import openai
import pytest

from router.jobs.delivery import NotDelivered, deliver
from router.jobs.targets import parse_allowed
from stoker.errors import WebhookRefused
from stoker.store.store import Store
from tests.support.backend import Backend, Seen, backend, plain
from tests.support.job_site import job_site

LOOPBACK = parse_allowed(["127.0.0.0/8", "localhost"])


async def hooked(receiver: Backend, count: int = 1, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while len(receiver.requests) < count:
            await asyncio.sleep(0.01)


async def test_the_end_of_a_job_is_told_and_openais_library_believes_it(store: Store, tmp_path: Path, engine: Backend) -> None:
    async def moody(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(500 if len(receiver.requests) == 1 else 204, b""))

    async with backend(moody) as receiver, job_site(store, tmp_path, webhook_allow=("127.0.0.1",)) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        id = await jobs.submit(webhook=f"http://{receiver.address}/hook?a=1")
        assert (await jobs.ended(id))["status"] == "succeeded"
        await hooked(receiver, 2)
        async with jobs.site.client("deployer") as deployer, jobs.site.client("other") as other:
            secret = (await deployer.get("/admin/webhook-secret")).json()["secret"]
            assert (await other.get("/admin/webhook-secret")).json()["secret"] != secret
        first, again = receiver.requests
        assert first.line == "POST /hook?a=1 HTTP/1.1" and first.headers["webhook-id"] == again.headers["webhook-id"]
        client = openai.OpenAI(api_key="x", webhook_secret=secret)
        for seen in (first, again):
            client.webhooks.verify_signature(seen.body, seen.headers)
            with pytest.raises(openai.InvalidWebhookSignatureError):
                client.webhooks.verify_signature(seen.body + b" ", seen.headers)
        told = json.loads(again.body)
        assert told["type"] == "job.succeeded" and told["data"]["id"] == id and told["timestamp"] == told["data"]["finished_at"]
        async with asyncio.timeout(10):
            while await store.database.client.zcard(store.jobs.keys.outbox()):
                await asyncio.sleep(0.02)


async def test_a_receiver_that_hangs_keeps_neither_jobs_nor_other_receivers_waiting(store: Store, tmp_path: Path, engine: Backend) -> None:
    async def hang(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(600)

    async with backend(hang) as slow, backend() as quick, job_site(store, tmp_path, webhook_allow=("127.0.0.1",)) as jobs:
        await jobs.service()
        await jobs.engine(engine.address)
        stuck = [await jobs.submit(webhook=f"http://{slow.address}/") for _ in range(20)]
        fine = await jobs.submit(webhook=f"http://{quick.address}/")
        assert {(await jobs.ended(id))["status"] for id in (*stuck, fine)} == {"succeeded"}
        await hooked(quick, 1, 10)


async def test_redirects_are_not_followed_and_long_or_lying_answers_are_cut_off() -> None:
    async def redirect(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(302, b"", b"location: http://127.0.0.1:1/"))

    async def endless(seen: Seen, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async def gone(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(410, b""))

    for script, sentence, final in ((redirect, "answered 302", False), (endless, "127.0.0.1", False), (gone, "answered 410", True)):
        async with backend(script) as receiver:
            with pytest.raises(NotDelivered, match=sentence) as found:
                await deliver(f"http://{receiver.address}/", {"webhook-id": "m"}, b"{}", LOOPBACK)
            assert found.value.final is final and len(receiver.requests) == 1


async def test_what_was_allowed_when_it_was_accepted_is_judged_again_when_it_is_called() -> None:
    async with backend() as receiver:
        port = receiver.address.rpartition(":")[2]
        for url in (
            f"http://127.0.0.1:{port}/",
            f"http://localhost:{port}/",
            f"http://[::ffff:127.0.0.1]:{port}/",
            f"http://2130706433:{port}/",
        ):
            with pytest.raises((WebhookRefused, NotDelivered)):
                await deliver(url, {}, b"{}", parse_allowed([]))
        assert receiver.connections == 0
