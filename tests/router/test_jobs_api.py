"""/v1/jobs: who may do what, what is refused, what is found again. Nobody runs the jobs here."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.store.store import Store
from tests.support.job_site import job_site

FIELDS = {
    "id", "object", "service", "path", "status", "reason", "attempts", "position", "eta_seconds", "created_at", "started_at", "finished_at",
    "expires_at", "retry_of",
}  # fmt: skip


async def test_a_job_is_accepted_with_its_place_and_found_again(store: Store, tmp_path: Path) -> None:
    async with job_site(store, tmp_path, run=False) as jobs:
        await jobs.service()
        made = await jobs.user.post("/v1/jobs", json={"model": "mine", "body": {"messages": []}})
        job = made.json()
        assert made.status_code == 202 and made.headers["location"] == f"/v1/jobs/{job['id']}" and job.keys() >= FIELDS
        assert (job["object"], job["status"], job["position"], job["attempts"]) == ("job", "queued", 1, 0)
        assert await store.jobs.input(job["id"]) == b'{"model":"mine","messages":[]}', "the model is named where it was not"
        second = await jobs.submit(body={"model": "mine"})
        assert (await jobs.job(second))["position"] == 2
        listed = (await jobs.user.get("/v1/jobs", params={"limit": 1})).json()
        assert [row["id"] for row in listed["items"]] == [second] and listed["next"]
        rest = (await jobs.user.get("/v1/jobs", params={"cursor": listed["next"]})).json()
        assert [row["id"] for row in rest["items"]] == [job["id"]] and rest["next"] is None
        assert (await jobs.user.get("/v1/jobs", params={"status": "running"})).json()["items"] == []
        early = await jobs.user.get(f"/v1/jobs/{second}/result")
        assert (early.status_code, early.json()["error"]["code"]) == (409, "job_not_finished")


async def test_cancelling_twice_is_the_same_as_once(store: Store, tmp_path: Path) -> None:
    async with job_site(store, tmp_path, run=False) as jobs:
        await jobs.service()
        id = await jobs.submit()
        for _ in range(2):
            answer = await jobs.user.delete(f"/v1/jobs/{id}")
            assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert (await jobs.user.get(f"/v1/jobs/{id}/result")).status_code == 409
        again = await jobs.user.post(f"/v1/jobs/{id}/retry")
        assert again.status_code == 202 and again.json()["retry_of"] == id and again.json()["id"] != id
        assert (await jobs.user.post(f"/v1/jobs/{again.json()['id']}/retry")).status_code == 409, "it has not ended"
        text = (await jobs.user.get(f"/v1/jobs/{id}/events")).text
        assert "id: 1\nevent: status" in text and "id: 2\nevent: done" in text
        behind = (await jobs.user.get(f"/v1/jobs/{id}/events", headers={"last-event-id": "1"})).text
        assert "id: 1\n" not in behind and "id: 2\nevent: done" in behind


async def test_a_job_is_seen_by_its_token_and_by_deployers_of_its_project(store: Store, tmp_path: Path) -> None:
    async with job_site(store, tmp_path, run=False) as jobs:
        await jobs.service()
        id = await jobs.submit()
        await jobs.site.token("neighbour", role="user")
        await jobs.site.settled()
        seen = {}
        for caller in ("user", "neighbour", "deployer", "admin", "other", "viewer"):
            async with jobs.site.client(caller) as client:
                answers = [await client.get(f"/v1/jobs/{id}{rest}") for rest in ("", "/result")] + [await client.get("/v1/jobs")]
                seen[caller] = [a.status_code for a in answers[:2]] + [len(answers[2].json().get("items", []))]
        assert seen == {
            "user": [200, 409, 1], "neighbour": [404, 404, 0], "deployer": [200, 409, 1], "admin": [200, 409, 1], "other": [404, 404, 0],
            "viewer": [403, 403, 0],
        }  # fmt: skip


async def test_an_idempotency_key_is_one_job(store: Store, tmp_path: Path) -> None:
    async with job_site(store, tmp_path, run=False) as jobs:
        await jobs.service()
        body, headers = {"service": "mine", "body": {"a": 1}}, {"idempotency-key": "k1"}
        first, again = [await jobs.user.post("/v1/jobs", json=body, headers=headers) for _ in range(2)]
        assert first.status_code == again.status_code == 202 and first.json()["id"] == again.json()["id"]
        other = await jobs.user.post("/v1/jobs", json={**body, "body": {"a": 2}}, headers=headers)
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        ({"service": "nobody", "body": {}}, 404, "model_not_found"),
        ({"model": "nobody", "body": {}}, 404, "model_not_found"),
        ({"service": "mine", "body": []}, 400, "invalid_request"),
        ({"service": "mine", "body": "x"}, 400, "invalid_request"),
        ({"service": "mine", "body": {}, "path": "v1/x"}, 400, "invalid_request"),
        ({"service": "mine", "body": {}, "path": "/v1/../x"}, 400, "invalid_request"),
        ({"service": "mine", "body": {}, "path": "/x y"}, 400, "invalid_request"),
        ({"service": "mine", "body": {}, "path": "/x\r\nhost: y"}, 400, "invalid_request"),
        ({"service": "mine", "body": {}, "priority": 101}, 400, "invalid_request"),
        ({"service": "mine", "body": {}, "deadline_seconds": 0}, 400, "invalid_request"),
        ({"service": "mine", "body": {}, "webhook": "http://127.0.0.1/x"}, 400, "webhook_refused"),
        ({"service": "mine", "body": {}, "webhook": "http://169.254.169.254/"}, 400, "webhook_refused"),
        ({"service": "mine", "body": {}, "webhook": "ftp://example.org/"}, 400, "webhook_refused"),
        ({"service": "mine", "body": {}, "colour": "red"}, 400, "invalid_request"),
    ],
)
async def test_what_cannot_be_a_job_is_refused(store: Store, tmp_path: Path, words: dict[str, object], status: int, code: str) -> None:
    async with job_site(store, tmp_path, run=False) as jobs:
        await jobs.service()
        answer = await jobs.user.post("/v1/jobs", json=words)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert (await jobs.user.get("/v1/jobs")).json()["items"] == []


async def test_a_token_and_the_platform_have_room_for_so_many_jobs(store: Store, tmp_path: Path) -> None:
    async with job_site(store, tmp_path, run=False, jobs_queued_limit=2) as jobs:
        await jobs.service()
        body = {"service": "mine", "body": {"x": "y" * 2**20}}
        assert [(await jobs.user.post("/v1/jobs", json=body)).status_code for _ in range(3)] == [202, 202, 429]
    async with job_site(store, tmp_path / "b", run=False, jobs_bytes_limit=2**20) as jobs:
        full = await jobs.user.post("/v1/jobs", json=body)
        assert (full.status_code, full.json()["error"]["code"]) == (429, "queue_full")
        big = await jobs.user.post("/v1/jobs", json={"service": "mine", "body": {"x": "y" * (33 * 2**20)}})
        assert (big.status_code, big.json()["error"]["code"]) == (413, "body_too_large")
