"""What every part of a worker shares: this node's name and directory, the store, the journal, the runtime and the devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stoker import keyring
from stoker.clock import Clock
from stoker.records import Engine, Gpu, Reason
from stoker.settings import Settings
from stoker.store.mirror import Mirror
from stoker.store.store import Store
from worker import machine
from worker.devices.base import Devices
from worker.grants import Room, live
from worker.journal import Journal
from worker.runtimes.base import Runtime

if TYPE_CHECKING:
    from model_variants.base import Variant


@dataclass
class Node:
    """`store_ahead` is by how many seconds the store's clock is ahead of ours, as last seen. `stuck` names devices whose
    memory did not come back. `gpus` and `engines` are the last inventory.
    """

    name: str
    folder: Path
    settings: Settings
    clock: Clock
    store: Store
    mirror: Mirror
    journal: Journal
    runtime: Runtime
    devices: Devices
    cluster_key: bytes
    memory: int = field(default_factory=machine.memory_bytes)
    engines: tuple[Engine, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    stuck: dict[str, Reason] = field(default_factory=dict)
    store_ahead: float = 0.0
    believed: bool = True
    _variants: Mapping[str, Variant] | None = None

    @property
    def host(self) -> str:
        return self.settings.node_address

    def address(self, port: int) -> str:
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    def store_now(self) -> float:
        """The store's time, estimated while it is away."""
        return self.clock.now() + self.store_ahead

    def session_key(self, session: str) -> str:
        return keyring.session_key(self.cluster_key, session)

    def room(self) -> Room:
        """What can be granted: the machine's memory, and of each healthy device what other processes leave."""
        usable = (gpu for gpu in self.gpus if gpu.status == "ok" and gpu.id not in self.stuck)
        return Room(self.memory, {gpu.id: gpu.memory - gpu.foreign_memory for gpu in usable})

    def our_pids(self) -> set[int]:
        """Processes of all sessions that run here."""
        return self.runtime.pids(*(grant.session for grant in live(self.journal.grants.values())))

    def variants(self) -> Mapping[str, Variant]:
        """Loaded once: the built-in ones and third parties'."""
        if self._variants is None:
            from model_variants.registry import load_variants

            self._variants = load_variants()
        return self._variants
