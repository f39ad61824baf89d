"""Who refuses a session, and why: the first filter that says no gives the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from stoker.planning.need import Need
from stoker.planning.refusals import Refusal
from stoker.planning.room import NodeRoom
from stoker.planning.vitals import Vital
from stoker.resources import format_cpu, format_size


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a filter knows besides need and room: which nodes answer, and which are to be left out for a while.

    `shunned` nodes saw two failures of this service in a row, `avoided` ones have just refused one of its sessions.
    """

    vitals: Mapping[str, Vital] = {}
    shunned: frozenset[str] = frozenset()
    avoided: frozenset[str] = frozenset()


Filter = Callable[[Need, NodeRoom, Scene], Refusal | None]


def refuse(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    """The first refusal of this node, GPUs apart (see devices.pick); None if it would take the session."""
    for check in FILTERS:
        refusal = check(need, room, scene)
        if refusal is not None:
            return refusal
    return None


def _named(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    if not need.nodes or room.node.name in need.nodes:
        return None
    return Refusal("no_fit", "is not among placement.nodes", "are not among placement.nodes", lasting=True)


def _labelled(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    missing = [f"{key}={value}" for key, value in need.labels if room.node.labels.get(key) != value]
    if not missing:
        return None
    words = f"the label {missing[0]}"
    return Refusal("no_fit", f"lacks {words}", f"lack {words}", lasting=True)


def _runs_it(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    if need.runtime not in room.node.runtimes:
        return Refusal("engine_missing", f"offers no {need.runtime}", f"offer no {need.runtime}")
    if need.engine is None or need.runtime != "process":
        return None
    name, _, version = need.engine.partition("==")
    if any(engine.name == name and version in ("", engine.version) for engine in room.node.engines):
        return None
    return Refusal("engine_missing", f"has no {need.engine} installed", f"have no {need.engine} installed")


def _has_model(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    if need.model is None:
        return None
    facts = room.node.facts.get(need.model)
    if facts is None:
        return Refusal("model_missing", "has not read the model yet", "have not read the model yet")
    if "missing" in facts:
        return Refusal("model_missing", f"does not have the model {need.model}", f"do not have the model {need.model}")
    return None


def _big_enough(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    if need.cpu > room.node.cpu:
        cores = f"{format_cpu(room.node.cpu)} of the {format_cpu(need.cpu)} CPU cores it needs"
        return Refusal("no_fit", f"has only {cores}", f"have only {cores}", lasting=True)
    if need.memory > room.node.memory:
        words = f"less memory than the {format_size(need.memory)} it needs"
        return Refusal("no_fit", f"has {words}", f"have {words}", lasting=True)
    return None


def _open(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    if room.node.cordoned:
        return Refusal("no_fit", "is cordoned", "are cordoned")
    if room.node.draining_until is not None:
        return Refusal("no_fit", "is being drained", "are being drained")
    return None


def _answers(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    vital = scene.vitals.get(room.node.name, Vital.ALIVE)
    if vital is Vital.ALIVE:
        return None
    return Refusal("node_silent" if vital is Vital.SILENT else "node_lost", "does not answer", "do not answer")


def _not_failing(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    if room.node.name in scene.shunned:
        return Refusal("no_fit", "is left out after two failures there", "are left out after two failures there")
    if room.node.name in scene.avoided:
        return Refusal("no_fit", "has just refused it", "have just refused it")
    return None


def _apart(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    if need.spread != "require" or not room.replicas[(need.service, need.revision)]:
        return None
    return Refusal("no_fit", "runs another replica already", "run another replica already", busy=True)


def _has_room(need: Need, room: NodeRoom, scene: Scene) -> Refusal | None:
    if need.cpu > room.cpu:
        words = f"{format_cpu(need.cpu)} free CPU cores"
        return Refusal("no_fit", f"lacks {words}", f"lack {words}", busy=True)
    if need.memory > room.memory:
        words = f"{format_size(need.memory)} of free memory"
        return Refusal("no_fit", f"lacks {words}", f"lack {words}", busy=True)
    return None


FILTERS: tuple[Filter, ...] = (_named, _labelled, _runs_it, _has_model, _big_enough, _open, _answers, _not_failing, _apart, _has_room)
