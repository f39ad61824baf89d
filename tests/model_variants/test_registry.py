"""What the registry and the node must agree on."""

from __future__ import annotations

from model_variants.registry import load_variants
from model_variants.runtime_choice import engine_names
from worker.engines import KINDS


def test_a_node_finds_every_engine_that_a_variant_can_drive() -> None:
    """Containers only: nim. An engine that no node looks for could never be used in a process."""
    found = {kind.name for kind in KINDS}
    wanted = {name for variant in load_variants([]).values() for name in engine_names(variant)} - {"nim"}
    assert wanted == found
