"""Step 2 of a session's life: its launch plan, made with what this node knows, handed to the runtime."""

from __future__ import annotations

import logging
import pwd

from model_variants.base import Launch, LaunchPlan
from stoker.records import Assignment
from worker.grants import Grant
from worker.launching import Place, job, launch_plan
from worker.node import Node
from worker.runtimes.base import CannotStart, Running

log = logging.getLogger(__name__)


async def start(node: Node, assignment: Assignment, grant: Grant) -> tuple[LaunchPlan, Running]:
    """Raises CannotStart: nothing runs then."""
    launch, plan = plan_of(node, assignment, grant)
    return plan, await node.runtime.start(job(launch, plan, _place(node, grant), memory=grant.memory))


def plan_of(node: Node, assignment: Assignment, grant: Grant) -> tuple[Launch, LaunchPlan]:
    """The plan that this assignment and this grant lead to: always the same one. Raises CannotStart."""
    try:
        return launch_plan(assignment, grant, _place(node, grant), node.variants())
    except CannotStart:
        raise
    except Exception as error:
        log.exception("session %s: its variant failed", grant.session)
        name = assignment.resolution.variant
        raise CannotStart("start_exit", f"the variant {name} failed: {type(error).__name__}: {error}; see the worker's log") from error


def _place(node: Node, grant: Grant) -> Place:
    user = node.settings.session_user
    return Place(
        host=node.host,
        work_dir=str(node.runtime.folder(grant.session) / "work"),
        models=node.settings.models_dir(),
        engines=node.engines,
        session_key=node.session_key(grant.session),
        devices=node.devices.environment(grant.gpus),
        home=pwd.getpwnam(user).pw_dir if user else None,
    )
