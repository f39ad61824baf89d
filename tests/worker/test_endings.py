"""Why a session ended, told from how its engine did: the cases that an engine of the tests does not make by itself."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.support.worker_node import WorkerNode
from worker.endings import reason_of
from worker.runtimes.base import Ending

SAID = "collecting\nmodel-definition.yaml: the command 'pip3' ended with 1; its output is above"


@pytest.mark.parametrize(
    ("ending", "more", "code", "sentence"),
    [
        ({"code": 78}, {"last_lines": SAID}, "definition_failed", "collecting"),
        ({"code": 78}, {"last_lines": "something else"}, "start_exit", "exited with code 78"),
        ({"code": 1}, {"last_lines": SAID}, "start_exit", "exited with code 1"),
        ({"code": 78}, {"last_lines": SAID, "was_ready": True}, "start_exit", "while it served"),
        ({"code": 78, "oom": True}, {"last_lines": SAID}, "out_of_memory", "want of memory"),
        ({"rebooted": True}, {}, "node_lost", "restarted"),
    ],
)
def test_the_reason_of_an_end(ending: dict[str, Any], more: dict[str, Any], code: str, sentence: str) -> None:
    given = {"was_ready": False, "memory": 0, "last_lines": "", **more}
    reason = reason_of(Ending(**ending), **given)
    assert reason.code == code and sentence in reason.message


async def test_an_action_that_fails_ends_the_session_with_its_output(node: WorkerNode) -> None:
    plan = """{"actions": [{"action": "run_command", "args": {"command": ["sh", "-c", "echo no such wheel; exit 3"]}, "ref": null}],
               "argv": ["true"], "cwd": "/"}"""
    async with node.running():
        await node.place("svc-aaaaa", command=(sys.executable, "-m", "model_variants.definition", plan))
        failed = await node.when("svc-aaaaa", lambda session: session.status == "FAILED")
    assert failed.reason is not None and failed.reason.code == "definition_failed"
    assert "no such wheel" in failed.reason.message and "ended with 3" in failed.reason.message
