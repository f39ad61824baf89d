"""What a decision adds to the figures: words for its cause that are few and fixed, whatever the sentence says."""

from __future__ import annotations

from scheduler.actions import Decide
from stoker.metrics.catalogue import OTHER, field

_BEGINNINGS = (("replicas", "spec"), ("a request", "request"), ("no request", "idle"), ("in use", "load"), ("load", "load"))


def cause_of(why: str) -> str:
    """One of stoker.metrics.catalogue.CAUSES for what the autoscaler says."""
    return next((cause for beginning, cause in _BEGINNINGS if why.startswith(beginning)), OTHER)


def counts(decided: Decide) -> dict[str, int]:
    """What is counted where another number of sessions is wanted: the decision, and a cold start if a request woke it from zero."""
    wanted, before = decided.changes.get("wanted"), decided.service.wanted
    if wanted is None or wanted == before:
        return {}
    found = {field("scale_decisions_total", "up" if wanted > before else "down", decided.cause or OTHER): 1}
    return found | ({field("cold_starts_total"): 1} if before == 0 and decided.cause == "request" else {})
