"""Container or process, which image or which installed engine: decided from the spec and what the site offers."""

from __future__ import annotations

import re

import msgspec

from model_variants.base import Site, Unsuitable, Variant
from stoker.records import Engine
from stoker.specs import ServiceSpec


class Runtime(msgspec.Struct, frozen=True):
    """`name` is docker or process; `engine` is `NAME==VERSION` of an installed engine, `image` a container's."""

    name: str
    engine: str | None = None
    image: str | None = None


def choose_runtime(variant: Variant, spec: ServiceSpec, site: Site) -> Runtime:
    """Raises Unsuitable("engine_missing") with what to install.

    1. the spec's runtime, else
    2. docker if the spec names an image, else
    3. process if the variant brings its engine, the spec brings the command, or an installed engine fits, else
    4. docker, where a node offers it and an image is known
    """
    found = best(variant, fitting(variant, spec, site))
    if spec.runtime == "docker" or (spec.runtime is None and spec.image):
        return _container(variant, spec, site)
    if found:
        return Runtime("process", engine=f"{found.name}=={found.version}")
    if (variant.engine is None and not spec.engine) or spec.command:
        return Runtime("process")
    if spec.runtime is None and "docker" in site.runtimes and variant.image and not spec.engine:
        return Runtime("docker", image=variant.image)
    raise Unsuitable("engine_missing", _missing(variant, spec, site))


def can_run(variant: Variant, spec: ServiceSpec, site: Site) -> bool:
    """Whether choose_runtime would find something."""
    try:
        choose_runtime(variant, spec, site)
    except Unsuitable:
        return False
    return True


def fitting(variant: Variant, spec: ServiceSpec, site: Site) -> list[Engine]:
    """Installed engines of this variant that the spec's `engine:` (a name, or NAME==VERSION) allows."""
    name, _, version = (spec.engine or "").partition("==")
    names = [own for own in engine_names(variant) if not name or same_engine(own, name)]
    return [engine for engine in site.engines if version in ("", engine.version) and any(same_engine(engine.name, own) for own in names)]


def engine_names(variant: Variant) -> tuple[str, ...]:
    """Engines that the variant can drive, the preferred one first; none where it brings its own."""
    others: tuple[str, ...] = getattr(variant, "other_engines", ())
    return (variant.engine, *others) if variant.engine else ()


def best(variant: Variant, engines: list[Engine]) -> Engine | None:
    """The newest of the variant's preferred engine, versions compared as numbers."""
    ranks = {name.replace("_", "-"): -rank for rank, name in enumerate(engine_names(variant))}
    return max(engines, key=lambda it: (ranks.get(it.name.replace("_", "-"), -99), version_key(it.version)), default=None)


def version_key(version: str) -> tuple[tuple[int, ...], bool]:
    """Sortable: 0.10.2 after 0.9.1; a release after its own candidates (0.9.0rc1, 0.9.0.dev1)."""
    release, *rest = re.split(r"[^0-9.]", version, maxsplit=1)
    numbers = tuple(int(part) for part in release.split(".") if part)
    return numbers, not rest or not rest[0]


def _container(variant: Variant, spec: ServiceSpec, site: Site) -> Runtime:
    image = spec.image or variant.image
    if image is None:
        raise Unsuitable("engine_missing", f"variant {variant.name} has no default image: give `image:`, or `runtime: process`")
    if "docker" not in site.runtimes:
        raise Unsuitable("engine_missing", f"no node offers docker, which the image {image} needs: {_or_install(variant)}")
    return Runtime("docker", image=image)


def _missing(variant: Variant, spec: ServiceSpec, site: Site) -> str:
    wanted = spec.engine or variant.engine or variant.name
    names = engine_names(variant)
    if not any(same_engine(wanted.partition("==")[0], name) for name in names):
        return (
            f"variant {variant.name} does not run the engine {wanted}: leave `engine:` out, or name {variant.engine or 'another variant'}"
        )
    versions = sorted({engine.version for engine in site.engines if any(same_engine(engine.name, name) for name in names)}, key=version_key)
    if versions:
        return f"no node has {wanted} installed; installed are {', '.join(versions)}"
    docker = "" if "docker" in site.runtimes else " and none offers docker"
    return f"no node has the engine {wanted}{docker}: {_or_install(variant)}"


def _or_install(variant: Variant) -> str:
    if variant.engine is None:
        return "install docker on a node, or leave `image:` and `runtime:` out"
    words = getattr(variant, "install", None)
    if not words:
        return f"install docker, or {variant.engine} on the worker's PATH, and restart the worker"
    folder = f"~/engines/{variant.engine}"
    return (
        f"make an environment for it (python3 -m venv {folder} && {folder}/bin/pip install {words}) and restart the worker with "
        f"""STOKER_ENGINE_PATH='["'$HOME'/engines/{variant.engine}"]'"""
    )


def same_engine(one: str, other: str) -> bool:
    """Whether two words name one engine: `-` and `_` are one sign."""
    return one.strip().lower().replace("_", "-") == other.lower().replace("_", "-")
