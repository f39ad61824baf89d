"""Two specs compared, and one spec compared with what this version of Stoker can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stoker.errors import InvalidSpec
from stoker.specs.complaints import Steps, path_of
from stoker.specs.parts import SecretRef
from stoker.specs.service import ServiceSpec

UNCHANGEABLE = ("name", "project", "resource_group")

_Test = Callable[[ServiceSpec], bool]


def _given(path: str) -> _Test:
    """Whether the field at `path` was given and differs from its default."""
    *blocks, field = path.split(".")

    def test(spec: ServiceSpec) -> bool:
        part: Any = spec
        for block in blocks:
            part = getattr(part, block)
        return bool(getattr(part, field) != type(part).model_fields[field].get_default(call_default_factory=True))

    return test


NOT_YET: Mapping[str, str] = {
    "preemptible": "nothing is preempted yet",
    "autoscaling.target_concurrency": "the number of sessions does not follow the load yet, only to zero and back",
    "autoscaling.keep_warm": "no spare sessions are kept yet",
    "autoscaling.rules": "scaling rules are not followed yet",
    "autoscaling.jobs_wake": "there are no jobs yet",
    "placement.spread": "replicas go where there is room, without regard to each other",
    "routing.affinity": "requests are not tied to a session yet",
    "routing.hedge": "a slow request is not tried twice yet",
    "routing.continue_streams": "a broken stream is not continued yet",
    "routing.cors_origins": "no CORS headers are sent yet",
    "rollout.max_surge": "a new revision replaces sessions in a fixed manner",
    "rollout.max_unavailable": "a new revision replaces sessions in a fixed manner",
    "model_access": "only containers mount the model, and the docker runtime comes later",
}
"""Fields that are accepted and do nothing in this version, and why. Whoever makes one work takes it out."""


def without_effect(spec: ServiceSpec) -> list[str]:
    """One sentence per field of `spec` that does nothing: in this version, or beside another field of it."""
    found = [f"{path} has no effect yet: {why}" for path, why in NOT_YET.items() if _given(path)(spec)]
    return found + [sentence for test, sentence in _beside_another() if test(spec)]


def _beside_another() -> Iterator[tuple[_Test, str]]:
    """What contradicts another field of the same spec."""
    yield lambda s: s.runtime == "docker", "runtime docker is not there yet: this version starts processes only"
    yield lambda s: s.runtime != "docker" and bool(s.mounts), "mounts have no effect: a process sees the node's own paths"
    yield lambda s: s.runtime != "docker" and s.egress is not None, "egress has no effect: only a container can be cut off from the outside"
    yield lambda s: s.runtime != "docker" and s.resources.shm is not None, "resources.shm has no effect: a process uses the node's /dev/shm"
    yield lambda s: s.runtime == "process" and s.image is not None, "image has no effect with runtime process"
    yield lambda s: s.runtime == "docker" and s.engine is not None, "engine has no effect with runtime docker"
    yield (
        lambda s: s.command is not None and bool(s.options),
        "options have no effect beside command, which replaces the start command",
    )


def changes_sessions(old: ServiceSpec, new: ServiceSpec) -> bool:
    """Whether running sessions must be replaced. Spelling and explicit defaults make no difference."""
    return any(getattr(old, f) != getattr(new, f) for f in ServiceSpec.model_fields if f not in ServiceSpec.restart_nothing)


def refuse_frozen(old: ServiceSpec, new: ServiceSpec) -> None:
    """Raise InvalidSpec where a field differs that cannot change in the life of a service."""
    for field in UNCHANGEABLE:
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            raise InvalidSpec(f"{field} cannot change from {before} to {after}; delete the service and apply it anew", param=field)


def diff(old: ServiceSpec | None, new: ServiceSpec) -> list[str]:
    """Lines such as `resources.gpu: 1 -> 2`, in the fields' order; values that nobody gave are shown as `default`."""
    before, after = _flat(old.to_json() if old else {}), _flat(new.to_json())
    paths = list(dict.fromkeys([*before, *after]))
    return [f"{path_of(p)}: {_shown(before, p)} -> {_shown(after, p)}" for p in paths if before.get(p) != after.get(p)]


def _flat(value: object, steps: Steps = ()) -> dict[Steps, object]:
    """Leaves of nested mappings by path; lists are leaves."""
    if isinstance(value, dict) and value and not (len(value) == 1 and "secret" in value and steps[:1] == ("env",)):
        return {path: leaf for key, entry in value.items() for path, leaf in _flat(entry, (*steps, key)).items()}
    return {steps: value}


def _shown(values: Mapping[Steps, object], path: Steps) -> str:
    if path not in values:
        return "default"
    value = values[path]
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    text = str(SecretRef.model_validate(value).secret) if isinstance(value, dict) and "secret" in value else str(value)
    return text if len(text) <= 200 else text[:200] + "…"
