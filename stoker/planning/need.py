"""What one session takes and where it may go: the spec's limits and the resolution's amounts, as one value."""

from __future__ import annotations

import msgspec

from stoker.records import Resolution
from stoker.resources import WHOLE_GPU
from stoker.specs import ServiceSpec

DEMO = "demo"
"""The built-in model: every node has it."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Hashable. Millicores, bytes, hundredths of one device. `gpus` 0: none; `share_of_memory`: bytes from which the share follows."""

    service: str
    revision: int
    group: str
    cpu: int
    memory: int
    gpus: int = 0
    share: int = 0
    gpu_memory: int = 0
    share_of_memory: int = 0
    gpu_models: tuple[str, ...] = ()
    gpu_vendor: str | None = None
    runtime: str = "process"
    engine: str | None = None
    model: str | None = None
    nodes: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    spread: str = "prefer"

    @property
    def whole(self) -> bool:
        """Whether its devices are its alone."""
        return self.share >= WHOLE_GPU

    def share_on(self, memory: int) -> int:
        """Hundredths that it takes of a device of so many bytes; over 100 where the device is too small."""
        if not self.share_of_memory:
            return self.share
        return max(1, -(-self.share_of_memory * WHOLE_GPU // memory)) if memory > 0 else WHOLE_GPU + 1

    def bytes_on(self, memory: int) -> int:
        """Bytes that must be free on a device of so many bytes."""
        if self.share_of_memory:
            return max(self.share_of_memory, self.gpu_memory)
        if self.whole:
            return self.gpu_memory
        return max(self.gpu_memory, memory * self.share // WHOLE_GPU)

    def booked_on(self, memory: int) -> int:
        """Bytes that it holds there: all of a device that is its alone."""
        return memory if self.whole else self.bytes_on(memory)


def need_of(spec: ServiceSpec, revision: int, resolution: Resolution) -> Need:
    """What one session of this revision takes."""
    elsewhere = spec.model == DEMO or spec.model.startswith("hf:")
    return Need(
        service=spec.name,
        revision=revision,
        group=spec.resource_group,
        cpu=resolution.cpu,
        memory=resolution.memory,
        gpus=resolution.gpus,
        share=resolution.gpu_share,
        gpu_memory=resolution.gpu_memory,
        share_of_memory=resolution.gpu_share_of_memory,
        gpu_models=tuple(model.lower() for model in spec.resources.gpu_model),
        gpu_vendor=spec.resources.gpu_vendor,
        runtime=resolution.runtime,
        engine=resolution.engine,
        model=None if elsewhere else spec.model,
        nodes=tuple(spec.placement.nodes),
        labels=tuple(sorted(spec.placement.labels.items())),
        spread=spec.placement.spread,
    )
