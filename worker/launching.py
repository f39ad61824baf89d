"""From an assignment and a grant to a job for the runtime.

The command comes from the same pure variant function that `--dry-run` uses; the node adds port, paths, devices and the key.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from model_variants.base import Launch, LaunchPlan, Unsuitable, Variant
from stoker.errors import StokerError
from stoker.records import Assignment, Engine
from stoker.specs import ServiceSpec
from worker.environment import session_environment
from worker.grants import Grant
from worker.model_paths import is_local, may_show_at_models, model_path
from worker.runtimes.base import CannotStart, Job


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What the node adds to a launch. `home` is the session user's; `devices` the variables that show the GPUs."""

    host: str
    work_dir: str
    models: Path
    engines: tuple[Engine, ...]
    session_key: str
    devices: Mapping[str, str]
    home: str | None = None


def launch_plan(assignment: Assignment, grant: Grant, place: Place, variants: Mapping[str, Variant]) -> tuple[Launch, LaunchPlan]:
    """How to start, probe and stop it. Raises CannotStart: model_missing, engine_missing, model_unsupported or start_exit."""
    resolution = assignment.resolution
    variant = variants.get(resolution.variant)
    if variant is None:
        raise CannotStart("model_unsupported", f"this node's Stoker has no variant {resolution.variant}; upgrade the node")
    try:
        spec = ServiceSpec.from_json(assignment.spec)
        launch = Launch(
            spec=spec,
            resolution=resolution,
            session=grant.session,
            host=place.host,
            port=grant.port,
            model_path=_model(spec.model, resolution.model_path, place.models),
            work_dir=place.work_dir,
            engine_prefix=_prefix(resolution.engine, place.engines),
            gpus=assignment.gpus,
            session_key=place.session_key if resolution.takes_key else None,
        )
        return launch, variant.launch(launch)
    except Unsuitable as error:
        raise CannotStart(error.reason.code, error.reason.message) from error
    except StokerError as error:
        raise CannotStart("start_exit", f"the start command cannot be made: {error.message}") from error


def job(launch: Launch, plan: LaunchPlan, place: Place, *, memory: int) -> Job:
    """What the runtime is told. Raises CannotStart."""
    return Job(
        session=launch.session,
        argv=plan.argv,
        env=session_environment(launch, plan, place.devices, machine=os.environ, home=place.home),
        cwd=plan.cwd,
        memory=memory,
        model_folder=launch.model_path if may_show_at_models(launch.model_path) else None,
        stop_signals=tuple(int(number) for number in plan.stop_signals),
        stop_grace=plan.stop_grace,
    )


def _model(model: str, resolved: str | None, store: Path) -> str | None:
    """This node's path of the model; what was resolved may have been read on another node."""
    if not is_local(model):
        return resolved
    path = model_path(model, store)
    if not path.exists():
        raise CannotStart("model_missing", f"the model {path} is not on this node; put it there, or give `placement: {{nodes: […]}}`")
    return str(path)


def _prefix(wanted: str | None, engines: Iterable[Engine]) -> str | None:
    """The environment of `NAME==VERSION`. Raises CannotStart(engine_missing)."""
    if wanted is None:
        return None
    for engine in engines:
        if f"{engine.name}=={engine.version}" == wanted:
            return engine.prefix
    raise CannotStart("engine_missing", f"the engine {wanted} is not installed on this node (any more)")
