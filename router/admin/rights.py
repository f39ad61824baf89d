"""What a deployer's spec may reach. An admin's may reach everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from router.access import Principal
from stoker.errors import NotAllowed
from stoker.specs import ServiceSpec

PROCESS, HOST_PATHS = "process", "host_paths"


class Bounds(NamedTuple):
    """`roots` are directories whose paths anybody may name; `may` is STOKER_DEPLOYER_MAY."""

    roots: tuple[Path, ...]
    may: tuple[str, ...]


def granted(principal: Principal, spec: ServiceSpec, bounds: Bounds) -> ServiceSpec:
    """The spec that this token may have, or NotAllowed.

    1. An admin: as it is.
    2. Paths of a node (model, mounts) lie under a root, unless host_paths are allowed.
    3. The process runtime is refused, unless it is allowed; where the spec leaves the runtime open, it becomes docker.
    """
    if principal.is_admin:  # (1)
        return spec
    if HOST_PATHS not in bounds.may:  # (2)
        for field, path in _paths(spec):
            if not _under(path, bounds.roots):
                raise NotAllowed(
                    f"{field}: a deployer's service may not name {path}; an admin can allow it by STOKER_ALLOWED_ROOTS", param=field
                )
    if PROCESS in bounds.may or spec.runtime == "docker":  # (3)
        return spec
    if spec.runtime == "process" or spec.model == "demo" or spec.variant == "demo":
        raise NotAllowed(
            "a deployer's service may not run as a process of the node; use runtime: docker, or ask for STOKER_DEPLOYER_MAY=process",
            param="runtime",
        )
    return spec.model_copy(update={"runtime": "docker"})


def _paths(spec: ServiceSpec) -> Iterator[tuple[str, str]]:
    if spec.model.startswith("/"):
        yield "model", spec.model
    for index, mount in enumerate(spec.mounts):
        yield f"mounts[{index}].source", mount.source


def _under(path: str, roots: Iterable[Path]) -> bool:
    """By the words of the path alone; the node refuses what leads elsewhere by a link."""
    given = PurePosixPath(path)
    return ".." not in given.parts and any(given.is_relative_to(PurePosixPath(root)) for root in roots)
