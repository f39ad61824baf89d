"""What is decided about jobs without a clock or a wire: verdicts, streams taken apart, when a service is woken."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.jobs import request_body
from router.jobs.event_stream import EventReader
from router.jobs.verdict import RETRIES, Again, Done, Ended, judge
from router.jobs.waking import names, wakes
from stoker.errors import InvalidRequest
from stoker.jobs import JobRecord
from stoker.records import ServiceRecord


def job(**more: object) -> JobRecord:
    return JobRecord(**{"id": "j", "service": "s", "project": "p", "token": "t", "path": "/", **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ended", "crashed"),
    [
        (Ended(lost="broke", router_lives=True), True),
        (Ended(lost="broke", router_lives=False), False),
        (Ended(status=502, error="engine_failed"), True),
        (Ended(status=200, error="stream_interrupted"), True),
        (Ended(status=200, error="handed_back"), False),
        (Ended(status=503, error="no_capacity"), False),
        (Ended(status=503, error="service_stopped"), False),
        (Ended(status=404, error="model_not_found"), False),
    ],
)
def test_a_crash_is_counted_only_where_an_engine_went_down(ended: Ended, crashed: bool) -> None:
    verdict = judge(job(), ended)
    assert isinstance(verdict, Again) and verdict.crashed is crashed and verdict.retries == 0 and verdict.pause > 0


def test_an_engine_that_fails_is_tried_so_often_with_growing_pauses() -> None:
    pauses = []
    for retries in range(RETRIES):
        verdict = judge(job(retries=retries), Ended(status=500, body=b"oops"))
        assert isinstance(verdict, Again) and verdict.retries == retries + 1 and not verdict.crashed
        pauses.append(verdict.pause)
    assert pauses == sorted(set(pauses))
    last = judge(job(retries=RETRIES), Ended(status=500, body=b"oops"))
    assert isinstance(last, Done) and last.result is not None and last.result.body == b"oops"
    assert last.reason is not None and last.reason.code == "engine_failed"


@pytest.mark.parametrize(
    ("status", "reason"), [(200, None), (204, None), (400, "engine_refused"), (413, "engine_refused"), (302, "engine_refused")]
)
def test_what_the_engine_says_for_good_is_the_result(status: int, reason: str | None) -> None:
    verdict = judge(job(), Ended(status=status, content_type="a/b", body=b"x"))
    assert isinstance(verdict, Done) and verdict.result is not None and verdict.result.status == status
    assert (verdict.reason.code if verdict.reason else None) == reason


@given(st.lists(st.text(alphabet='ab{}:" é', min_size=1, max_size=8), max_size=6), st.data(), st.sampled_from(["\n", "\r\n"]))
def test_events_are_the_same_however_the_stream_is_cut(texts: list[str], data: st.DataObject, end: str) -> None:
    stream = "".join(f": ping{end}{end}data: {text}{end}{end}" for text in texts).encode() + f"data: [DONE]{end}{end}".encode()
    reader, found, left = EventReader(), [], stream
    while left:
        size = data.draw(st.integers(1, len(left)))
        found += reader.feed(left[:size])
        left = left[size:]
    assert found == texts and reader.broken == ""


def test_only_the_routers_own_word_breaks_a_stream() -> None:
    reader = EventReader()
    assert reader.feed(b'event: error\ndata: {"error": {"code": "mine"}}\n\n') == ['{"error": {"code": "mine"}}'] and not reader.broken
    assert reader.feed(b'event: error\ndata: {"error": {"code": "handed_back"}}\n\n') == [] and reader.broken == "handed_back"


def service(wanted: int = 0, replicas: object = None, **autoscaling: object) -> ServiceRecord:
    spec = {"replicas": {"min": 0, "max": 1} if replicas is None else replicas, "autoscaling": autoscaling}
    return ServiceRecord(name="s", project="p", owner="o", spec=spec, wanted=wanted)


def test_jobs_wake_by_the_services_own_rule() -> None:
    assert wakes(service(), 1, 0.0) and not wakes(service(), 0, 0.0)
    assert not wakes(service(wanted=1), 9, 0.0) and not wakes(service(replicas=0), 9, 0.0) and not wakes(service(replicas=2), 9, 0.0)
    assert wakes(service(jobs_wake={"waiting": 3}), 3, 0.0) and not wakes(service(jobs_wake={"waiting": 3}), 2, 0.0)
    assert wakes(service(jobs_wake={"cron": "0 0 * * *"}), 1, 59.0) and not wakes(service(jobs_wake={"cron": "0 0 * * *"}), 1, 60.0)


@pytest.mark.parametrize(
    ("line", "when", "fits"),
    [
        ("* * * * *", "2026-11-24T03:04", True),
        ("*/2 3 * * *", "2026-11-24T03:04", True),
        ("*/2 3 * * *", "2026-11-24T03:05", False),
        ("0-10/4 * * nov *", "2026-11-24T03:08", True),
        ("4 3 * * mon-fri", "2026-11-24T03:04", True),
        ("4 3 * * mon", "2026-11-24T03:04", False),
        ("4 3 1 * tue", "2026-11-24T03:04", True),
        ("4 3 1 * mon", "2026-11-24T03:04", False),
        ("0 0 * * 7", "2026-11-22T00:00", True),
        ("0 0 * * sun", "2026-11-22T00:00", True),
    ],
)
def test_cron_lines(line: str, when: str, fits: bool) -> None:
    assert names(line, datetime.datetime.fromisoformat(when).replace(tzinfo=datetime.UTC).timestamp()) is fits


def test_the_model_is_named_where_an_openai_path_needs_it() -> None:
    assert request_body.with_model(b" { }", "/v1/x", "m") == b'{"model":"m"}'
    assert request_body.with_model(b'{"a": 1}', "/v1/x", "m") == b'{"model":"m","a": 1}'
    assert request_body.with_model(b'{"a": 1}', "/generate", "m") == b'{"a": 1}'
    assert request_body.with_model(b'{"model": null}', "/v1/x", "m") == b'{"model": null}'
    for wrong in (b"[]", b'"x"', b"1", b"", b"{", b"\xff"):
        with pytest.raises(InvalidRequest):
            request_body.read(wrong)
