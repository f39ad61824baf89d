"""A worker says what it knows of a model that no service names yet: to who knows its key, and without losing its threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from worker import asked_facts
from worker.asked_facts import READERS, AskedFacts
from worker.log_server import LogServer
from worker.model_facts import MOST_ASKED, FactsBook

KEY = {"authorization": "Bearer the-key"}


class Disk(FactsBook):
    """One that can hang."""

    def __init__(self, store: Path) -> None:
        super().__init__(store)
        self.works, self.reading = threading.Event(), 0
        self.works.set()

    def look(self, model: str) -> dict[str, object]:
        self.reading += 1
        assert self.works.wait(30)
        return super().look(model)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("one")
    return Disk(tmp_path)


@pytest.fixture
async def client(disk: Disk, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    made = LogServer("the-key", lambda session: tmp_path / session, lambda _: False, AskedFacts(disk))
    port = await made.start("127.0.0.1")
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=KEY, timeout=20) as found:
        yield found
    disk.works.set()
    await made.close()


async def test_what_would_be_published_is_what_is_answered(client: httpx2.AsyncClient, disk: Disk, tmp_path: Path) -> None:
    for model in ("texts", str(tmp_path / "texts"), "nothing"):
        answer = await client.get("/facts", params={"model": model})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        disk.read([model])
        assert answer.json() == msgspec.json.decode(msgspec.json.encode(disk.known[model]))
    assert answer.json() == {"missing": f"there is no {tmp_path / 'nothing'}"}


async def test_who_may_ask_and_about_what(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/facts", params={"model": "texts"}, headers={"authorization": "Bearer other"})).status_code == 401
    for wrong in ("", "demo", "hf:org/name", "../texts", "a\0b", "x" * 5000):
        assert (await client.get("/facts", params={"model": wrong})).status_code == 400, wrong
    assert (await client.get("/facts")).status_code == 400


async def test_a_disk_that_hangs_costs_no_more_than_its_threads(
    client: httpx2.AsyncClient, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_facts, "SECONDS", 0.3)
    disk.works.clear()
    models = ("texts", "texts", *(f"m{n}" for n in range(6)))
    answers = await asyncio.gather(*(client.get("/facts", params={"model": model}) for model in models))
    assert {answer.status_code for answer in answers} == {503} and disk.reading == READERS
    assert (await client.get("/facts", params={"model": "texts"})).status_code == 503 and disk.reading == READERS
    disk.works.set()
    monkeypatch.setattr(asked_facts, "SECONDS", 15.0)
    assert (await client.get("/facts", params={"model": "texts"})).json()["kind"] == "text"


def test_what_was_asked_for_is_kept_within_bounds(tmp_path: Path) -> None:
    book = FactsBook(tmp_path)
    for number in range(MOST_ASKED + 20):
        book.look(f"m{number}")
    assert len(book._asked) == MOST_ASKED and book.known == {}, "what nobody serves is not published"
