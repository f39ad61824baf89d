"""Why a session ended, in a reason that a user can act on: decided from how its engine ended and its last lines."""

from __future__ import annotations

import re
import signal as signals

from stoker.records import Reason
from stoker.resources import format_size
from worker.runtimes.base import Ending

_DEFINITION_EXIT, _DEFINITION_SAYS = 78, "model-definition.yaml: "
"""How the actions before the start of a definition end where one fails (model_variants.definition), and how their last line begins."""

_WORDS = 500
"""Characters of an engine's last lines in a reason; its log has them all."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")

_NOT_FOUND = ("No such file or directory", "Permission denied", "Exec format error")


def reason_of(ending: Ending, *, was_ready: bool, memory: int, last_lines: str) -> Reason:
    """For an end that nobody asked for. The first that fits:

    1. node_lost: the machine booted anew.
    2. start_exit: the command could not be started at all.
    3. out_of_memory: the kernel killed it at its limit.
    4. definition_failed: an action of model-definition.yaml before the start did not work.
    5. start_exit: it exited, even with code 0, or a signal ended it; or its supervisor was killed.
    """
    if ending.rebooted:
        return Reason("node_lost", "the machine was restarted while the session ran")
    if ending.error:
        hint = "; check the command and that its program is installed" if ending.error.endswith(_NOT_FOUND) else ""
        return Reason("start_exit", f"{ending.error}{hint}")
    if ending.oom:
        limit = f" at its limit of {format_size(memory)}" if memory else ""
        return Reason("out_of_memory", with_words(f"the engine was killed for want of memory{limit}; raise resources.memory", last_lines))
    if ending.code == _DEFINITION_EXIT and not was_ready and f"\n{last_lines}".rpartition("\n")[2].startswith(_DEFINITION_SAYS):
        return Reason("definition_failed", with_words("an action before the start failed, so that nothing was started", last_lines))
    return Reason("start_exit", with_words(_how(ending, was_ready), last_lines))


def with_words(sentence: str, last_lines: str) -> str:
    """The sentence and the engine's last lines, on one line: reasons stand in tables and in a display that rewrites its line."""
    words = " | ".join(line.strip() for line in _CONTROL.sub("", last_lines).splitlines() if line.strip())
    if not words:
        return f"{sentence}; it wrote nothing"
    return f"{sentence}; its last lines: {words if len(words) <= _WORDS else '…' + words[-_WORDS:]}"


def _how(ending: Ending, was_ready: bool) -> str:
    when = " while it served" if was_ready else " before it was ready"
    if ending.orphaned:
        return f"the engine's supervisor was killed{when}, and the engine with it"
    if ending.signal is not None:
        return f"the engine was ended by {_name(ending.signal)}{when}"
    return f"the engine exited with code {ending.code}{when}"


def _name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
