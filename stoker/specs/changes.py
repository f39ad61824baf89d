"""Two specs compared, and one spec compared with what this version of Stoker can do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stoker.errors import InvalidSpec
from stoker.specs.complaints import Steps, path_of, printable
from stoker.specs.fields import Part
from stoker.specs.parts import JobsWake, Replicas
from stoker.specs.service import ServiceSpec

MAX_SHOWN = 120
_SOUNDS_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL", re.IGNORECASE)

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


_NO_MAXIMUM = "replicas.max has no effect yet: the number of sessions does not follow the load, only to zero and back"

NOT_YET: Mapping[str, str] = {
    "preemptible": "nothing is preempted yet",
    "autoscaling.target_concurrency": "the number of sessions does not follow the load, only to zero and back",
    "autoscaling.keep_warm": "no spare sessions are kept yet",
    "autoscaling.rules": "scaling rules are not followed yet",
    "routing.affinity": "requests are not tied to a session yet",
    "routing.hedge": "a slow request is not tried twice yet",
    "routing.continue_streams": "a broken stream is not continued yet",
    "routing.cors_origins": "no CORS headers are sent yet",
    "model_access": "only containers mount the model, and the docker runtime comes later",
}
"""Fields that are accepted and do nothing in this version, and why. Whoever makes one work takes it out."""


def without_effect(spec: ServiceSpec) -> list[str]:
    """One sentence per field of `spec` that does nothing: in this version, or beside another field of it."""
    found = [f"{path} has no effect yet: {why}" for path, why in NOT_YET.items() if _given(path)(spec)]
    return found + [sentence for test, sentence in _beside_another() if test(spec)]


def _beside_another() -> Iterator[tuple[_Test, str]]:
    """What contradicts another field of the same spec."""
    yield lambda s: not s.replicas.fixed and s.replicas.max > max(1, s.replicas.min), _NO_MAXIMUM
    yield (
        lambda s: s.autoscaling.idle_seconds is None,
        "autoscaling.idle_seconds null has no effect yet: nothing asks for room, so it never sleeps",
    )
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
    """Lines such as `resources.gpu: 1 -> 2`, in the fields' order; for a new service, everything that was given.

    `default` stands for what is decided later, `none` for what is not there. Values of env that sound secret are left out.
    """
    before = dict(_leaves(old)) if old else {}
    after = {path: shown for path, shown in _leaves(new) if old or path[0] in new.model_fields_set}
    paths = list(dict.fromkeys([*after, *before]))
    changed = [path for path in paths if before.get(path) != after.get(path)]
    return [f"{path_of(p)}: {_hidden(p, before.get(p, 'none'))} -> {_hidden(p, after.get(p, 'none'))}" for p in changed]


def _leaves(part: Part, steps: Steps = ()) -> Iterator[tuple[Steps, str]]:
    """(path, text) of every value of a spec, given or by default; entries of mappings are values of their own."""
    written = part.model_dump(mode="json")
    for field, info in type(part).model_fields.items():
        value, path = getattr(part, field), (*steps, field)
        if isinstance(value, Replicas):
            yield path, str(value)
        elif isinstance(value, Part) and not isinstance(value, JobsWake):
            yield from _leaves(value, path)
        elif isinstance(value, dict):
            yield from (((*path, key), _shown(entry)) for key, entry in written[field].items())
        else:
            unset = value is None and (field not in part.keeps_null or info.default is None)
            yield path, "default" if unset else _shown(written[field])


def _shown(value: object) -> str:
    """A JSON value as a user would write it, cut to a length that fits a terminal."""
    if isinstance(value, dict) and set(value) == {"secret"}:
        return f"secret:{value['secret']}"
    text = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def _hidden(path: Steps, shown: str) -> str:
    secret = path[0] == "env" and _SOUNDS_SECRET.search(str(path[-1])) and shown != "none" and not shown.startswith("secret:")
    return "(hidden)" if secret else shown
