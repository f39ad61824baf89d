"""What a user reads about a session that ended."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stoker.records import Reason
from worker.endings import reason_of
from worker.runtimes.base import Ending


@pytest.mark.parametrize(
    ("ending", "more", "code", "sentence"),
    [
        ({"code": 1}, {}, "start_exit", "the engine exited with code 1 before it was ready; it wrote nothing"),
        ({"code": 0}, {"was_ready": True}, "start_exit", "the engine exited with code 0 while it served; it wrote nothing"),
        (
            {"signal": 11},
            {"last_lines": "  loading\r 50%\r\n\n\x1b[31mboom\x1b[0m\n"},
            "start_exit",
            "the engine was ended by SIGSEGV before it was ready; its last lines: loading | 50% | boom",
        ),
        ({"signal": 99}, {}, "start_exit", "the engine was ended by signal 99 before it was ready; it wrote nothing"),
        (
            {"signal": 9, "oom": True},
            {"memory": 2**30},
            "out_of_memory",
            "the engine was killed for want of memory at its limit of 1GiB; raise resources.memory; it wrote nothing",
        ),
        ({"oom": True}, {}, "out_of_memory", "the engine was killed for want of memory; raise resources.memory; it wrote nothing"),
        ({"rebooted": True}, {}, "node_lost", "the machine was restarted while the session ran"),
        (
            {"orphaned": True},
            {"was_ready": True},
            "start_exit",
            "the engine's supervisor was killed while it served, and the engine with it; it wrote nothing",
        ),
        (
            {"error": "cannot start x: No such file or directory"},
            {},
            "start_exit",
            "cannot start x: No such file or directory; check the command and that its program is installed",
        ),
    ],
)
def test_each_end_has_its_sentence(ending: dict[str, Any], more: dict[str, Any], code: str, sentence: str) -> None:
    reason = reason_of(Ending(**ending), **({"was_ready": False, "memory": 0, "last_lines": ""} | more))
    assert (reason.code, reason.message) == (code, sentence)


def test_a_reason_is_bounded_and_ends_with_what_was_said_last() -> None:
    said = "\n".join([*("x" * 90 for _ in range(20)), "boom"])
    message = reason_of(Ending(code=1), was_ready=False, memory=0, last_lines=said).message
    assert len(message) < 600 and message.endswith(" | boom") and len(message.splitlines()) == 1


def test_a_reason_is_one_line_whoever_made_it() -> None:
    assert Reason("start_exit", "the variant failed: 2 errors\n  field: wrong\n").message == "the variant failed: 2 errors | field: wrong"
    old = msgspec.msgpack.encode({"code": "start_exit", "message": "its last lines:\nboom"})
    assert msgspec.msgpack.decode(old, type=Reason).message == "its last lines: | boom", "written by an older worker"
