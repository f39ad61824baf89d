"""What the router's calls work with: made once in `main`, handed to each call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2

from model_variants.base import Variant
from router.access import Access
from router.directory import Directory
from router.peer import Network
from router.plane import Plane
from router.pulse import Pulse
from stoker.clock import Clock
from stoker.doorbell import Doorbell
from stoker.errors import StoreUnavailable
from stoker.metrics.cluster import ClusterFigures
from stoker.settings import Settings
from stoker.store.mirror import Mirror
from stoker.store.store import Store

_CATCH_UP_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 0.003


@dataclass
class Life:
    """Whether this router is on its way out."""

    draining: bool = False


@dataclass(frozen=True, kw_only=True)
class Context:
    """`address` is where this router listens, as http://HOST:PORT; `http` talks to workers (logs); `runners` wakes who runs jobs."""

    settings: Settings
    store: Store
    mirror: Mirror
    access: Access
    doorbell: Doorbell
    runners: Doorbell
    plane: Plane
    variants: Mapping[str, Variant]
    clock: Clock
    pulse: Pulse
    cluster_key: bytes
    http: httpx2.AsyncClient
    address: str
    figures: ClusterFigures
    admin_networks: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    life: Life = field(default_factory=Life)

    @property
    def directory(self) -> Directory:
        return self.plane.directory

    async def caught_up(self, version: int) -> None:
        """Wait until the mirror has read this write, so that who wrote reads it back; at most a second."""
        deadline = self.clock.monotonic() + _CATCH_UP_SECONDS
        while self.mirror.version < version and self.clock.monotonic() < deadline:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def ring(self, service: str) -> None:
        """Tell the scheduler; a lost ring costs one of its ticks, so a store that has just gone is no failure of the call."""
        try:
            await self.doorbell.ring(service)
        except StoreUnavailable:
            return

    async def tell_runners(self, service: str) -> None:
        """The same for those who run jobs: there is one for this service."""
        try:
            await self.runners.ring(service)
        except StoreUnavailable:
            return
