"""What a spec would become and where it would go, in the shape of the public contract: dry run, plan and explain.

Pure: the same arithmetic that the scheduler places with, on the records that the caller has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from model_variants.alternatives import alternatives
from model_variants.base import NO_FILES, Launch, Site, Unsuitable, Variant
from model_variants.drafting import CONTAINER_MODELS, seen_path
from model_variants.facts import ModelFacts
from model_variants.offers import NotYet, gather
from model_variants.resolve import resolve
from model_variants.trial import Nodes, attempt, said, without_secrets
from stoker.errors import InvalidSpec
from stoker.planning.placement import Search
from stoker.planning.room import Rooms
from stoker.planning.vitals import Vital, Watch
from stoker.records import Reason, Resolution, SessionRecord
from stoker.resources import WHOLE_GPU
from stoker.specs import SecretRef, ServiceSpec, changes_sessions, diff

_PORT = 59_999
"""Stands for a port that the node will choose; shown as {port}."""

_KEY = "sk-session-…"


def explain(
    spec: ServiceSpec,
    nodes: Nodes,
    sessions: Iterable[SessionRecord],
    seen: Mapping[str, float],
    now: float,
    variants: Mapping[str, Variant],
    *,
    old: ServiceSpec | None = None,
    kept: Resolution | None = None,
    unheard: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The object of CONTRACT section 4: {fits, reason, resolved, argv, env, memory, placement, refused, evicts, nearest, diff}.

    `nodes` and `sessions` are all of the cluster (a router's mirror has them), `seen` is `store.nodes.seen()`, `now` the store's
    time. `old` is the spec that is applied now, if any; `kept` its resolution, which is used where sessions need not change.
    `unheard`: why a node could not be asked for the facts of the model, by name.
    Secrets are named (`secret:NAME`), never shown. `fits` None: the nodes have not said yet what they know of the model.
    Raises nothing for a spec that does not fit: `reason` {code, message} says why.
    """
    watch = Watch(now=now, seen=seen)
    vitals = {name: watch.vital(node) for name, node in nodes.items()}
    empty: dict[str, Any] = {"argv": [], "env": {}, "memory": [], "placement": [], "refused": [], "evicts": [], "nearest": []}
    answer = {"fits": None, "reason": None, "resolved": None, **empty, "diff": diff(old, spec)}
    same = old is not None and not changes_sessions(old, spec)
    sessions = list(sessions)
    offered: tuple[ModelFacts, Site] | None = None

    def changes() -> list[dict[str, str]]:
        others = [session for session in sessions if session.service != spec.name]
        return alternatives(spec, *offered, Search(Rooms(nodes, others), vitals), variants) if offered else []

    try:
        if kept is not None and same:
            resolution = kept
        else:
            offered = _offered(spec, nodes, vitals)
            resolution = resolve(spec, *offered, variants)
    except NotYet:
        why = next(iter(sorted((unheard or {}).values())), "they do once a service that names it is applied")
        unread = f"no node has said yet what it knows of the model {spec.model}: {why}"
        return answer | {"reason": said(Reason("model_missing", unread))}
    except Unsuitable as no:
        return answer | {"fits": False, "reason": said(no.reason), "nearest": changes() if no.reason.code == "no_fit" else []}
    except InvalidSpec as no:
        return answer | {"fits": False, "reason": said(Reason("model_unsupported", no.message))}
    trial = attempt(spec, resolution, nodes, sessions, vitals, same=same)
    trial |= without_secrets(spec, trial)
    if trial["fits"] is False and offered and resolution.memory_terms:
        unaware = ("resources.gpu: ", "resources.gpu_memory: ")  # of what the model needs
        trial["nearest"] = [one for one in trial["nearest"] if not one["change"].startswith(unaware)] + changes()
    return answer | trial | _shown(resolution) | _command(spec, resolution, nodes, variants)


def _offered(spec: ServiceSpec, nodes: Nodes, vitals: Mapping[str, Vital]) -> tuple[ModelFacts, Site]:
    group = [node for name, node in nodes.items() if node.group == spec.resource_group and not node.removed]
    living = [node for node in group if vitals[node.name] is Vital.ALIVE]
    if not living:
        raise Unsuitable("node_silent", f"no node of the resource group {spec.resource_group} answers: start a worker (stoker worker)")
    return gather(spec, living, patience=0.0)


def _shown(resolution: Resolution) -> dict[str, Any]:
    whole = resolution.gpu_share in (0, WHOLE_GPU)
    gpu = float(resolution.gpus) if whole else resolution.gpus * resolution.gpu_share / WHOLE_GPU
    fields = ("variant", "runtime", "engine", "image", "model_revision", "why")
    return {
        "resolved": {name: getattr(resolution, name) for name in fields} | {"gpu": gpu},
        "memory": [{"term": term, "bytes": size} for term, size in resolution.memory_terms],
    }


def _command(spec: ServiceSpec, resolution: Resolution, nodes: Nodes, variants: Mapping[str, Variant]) -> dict[str, Any]:
    """The start command and its environment as a node would make them, apart from what only the node knows."""
    prefixes = {f"{engine.name}=={engine.version}": engine.prefix for node in nodes.values() for engine in node.engines}
    path = seen_path(ModelFacts(kind="unknown", path=resolution.model_path), resolution.runtime)
    launch = Launch(
        spec=spec,
        resolution=resolution,
        session=f"{spec.name}-xxxxx",
        host="127.0.0.1",
        port=resolution.port or _PORT,
        model_path=path,
        engine_prefix=prefixes.get(resolution.engine or ""),
        session_key=_KEY if resolution.takes_key else None,
    )
    try:
        plan = variants[resolution.variant].launch(launch)
    except (KeyError, Unsuitable):
        return {}
    given = {name: f"secret:{value.secret}" if isinstance(value, SecretRef) else str(value) for name, value in spec.env.items()}
    names = resolution.model_names or (spec.name,)
    none = CONTAINER_MODELS if resolution.runtime == "docker" else f"{{work_dir}}/{NO_FILES}"
    own = {"BACKEND_MODEL_NAME": names[0], **plan.env, **given, "BACKEND_MODEL_PATH": path or none, "STOKER_SERVICE": spec.name}
    return {"argv": [_masked(word) for word in plan.argv], "env": {name: _masked(value) for name, value in own.items()}}


def _masked(word: str) -> str:
    return word.replace(str(_PORT), "{port}")
