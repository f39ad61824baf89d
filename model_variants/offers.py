"""What the nodes of a group offer together for one spec: the facts of its model and the site, from their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from model_variants.base import Site, Unsuitable
from model_variants.facts import BUILTIN, ModelFacts
from stoker.records import NodeRecord
from stoker.specs import ServiceSpec

READING_SECONDS = 5.0
"""For so long after a spec changed, nodes that have not published facts of its model yet are waited for."""


class NotYet(Exception):
    """Nothing can be said before the nodes have answered; the message says what is waited for."""


def gather(spec: ServiceSpec, nodes: Iterable[NodeRecord], *, patience: float) -> tuple[ModelFacts, Site]:
    """The facts of the spec's model, and what those of `nodes` that have it offer.

    `nodes` are the living ones of its group. `patience`: seconds left to wait for nodes that have not read the model.
    Raises NotYet, Unsuitable("model_missing").
    """
    able = [node for node in nodes if may_go(spec, node)]
    if spec.model == "demo":
        return BUILTIN, site_of(able)
    known = {node.name: node.facts[spec.model] for node in able if spec.model in node.facts}
    silent = len(known) < len(able)
    found = {name: facts for name, facts in known.items() if "missing" not in facts}
    if silent and (patience > 0 or not found) and not spec.model.startswith("hf:"):
        raise NotYet(f"the nodes are reading the model {spec.model}")
    if not found:
        raise Unsuitable("model_missing", _missing(spec, known))
    facts = _most_common(found)
    return facts, site_of(node for node in able if node.name in found)


def site_of(nodes: Iterable[NodeRecord]) -> Site:
    """Runtimes, engines and GPUs of these nodes."""
    nodes = list(nodes)
    return Site(
        runtimes=frozenset(runtime for node in nodes for runtime in node.runtimes),
        engines=tuple(engine for node in nodes for engine in node.engines),
        gpus=tuple(gpu for node in nodes for gpu in node.gpus),
    )


def read_facts_of(node: NodeRecord, model: str) -> ModelFacts | None:
    """What this node found at `model`; None if it has not read it, found nothing or writes another version's facts."""
    data = node.facts.get(model)
    if data is None or "missing" in data:
        return None
    try:
        return msgspec.convert(data, ModelFacts)
    except msgspec.ValidationError:
        return None


def may_go(spec: ServiceSpec, node: NodeRecord) -> bool:
    """Whether the spec's own words about nodes and labels leave this one in."""
    named = not spec.placement.nodes or node.name in spec.placement.nodes
    return named and all(node.labels.get(key) == value for key, value in spec.placement.labels.items())


def _most_common(found: Mapping[str, Mapping[str, Any]]) -> ModelFacts:
    """What most nodes found; copies of one model differ in their times only, so their digests are not compared."""
    read: dict[str, ModelFacts] = {}
    for name in sorted(found):
        try:
            read[name] = msgspec.convert(found[name], ModelFacts)
        except msgspec.ValidationError:
            continue
    if not read:
        raise Unsuitable("model_missing", "the nodes are of another version and describe the model in a way that is not known here")
    counts = Counter((facts.kind, facts.architecture, facts.weight_bytes) for facts in read.values())
    best = max(counts.values())
    return next(facts for facts in read.values() if counts[(facts.kind, facts.architecture, facts.weight_bytes)] == best)


def _missing(spec: ServiceSpec, known: Mapping[str, Mapping[str, Any]]) -> str:
    if spec.model.startswith("hf:"):
        name = spec.model.removeprefix("hf:").partition("@")[0].partition(":")[0]
        return (
            f"{spec.model} cannot be fetched by this version: download it (hf download {name} --local-dir DIR) and give the folder's path"
        )
    said = sorted({str(facts.get("missing")) for facts in known.values()})
    where = "no node has" if len(known) != 1 else f"{next(iter(known))} does not have"
    return f"{where} the model {spec.model}: {said[0]}" if said else f"{where} the model {spec.model}"
