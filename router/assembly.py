"""The parts of a router, put together: the store is waited for, everything is read, and the socket is bound last."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from model_variants.registry import load_variants
from router.access import Access
from router.access_log import AccessLog
from router.admin.endpoint import bound_address
from router.context import Context
from router.first_token import ensure_admin
from router.listening import bind
from router.peer import is_loopback, networks
from router.plane import Plane
from router.pulse import Pulse
from router.request import Addressing
from stoker.clock import Clock
from stoker.doorbell import RUNNERS, Doorbell
from stoker.errors import StoreUnavailable
from stoker.keyring import read_key
from stoker.metrics.cluster import ClusterFigures
from stoker.settings import Settings
from stoker.store.mirror import Mirror
from stoker.store.store import Store

log = logging.getLogger(__name__)

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


async def open_store(settings: Settings, clock: Clock) -> Store:
    """The store, however long it takes to come, with an admin token in it. Raises ConfigurationError."""
    for attempt in range(sys.maxsize):
        try:
            store = await Store.open(settings.store_url(), settings.cluster)
            try:
                await ensure_admin(store, settings)
            except BaseException:
                await store.close()
                raise
            return store
        except StoreUnavailable as error:
            if attempt in (0, len(_PAUSES)):
                log.warning("%s; trying on", error.message)
            await clock.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
    raise AssertionError("unreachable")


@asynccontextmanager
async def build(settings: Settings, store: Store, clock: Clock) -> AsyncIterator[tuple[Context, socket.socket]]:
    """Everything that serves, with the mirror read and the socket bound; nothing runs yet."""
    key = read_key(settings.key_file(), create=settings.secret_key_file is None)
    mirror, pulse, doorbell = store.mirror(), Pulse(store, clock), Doorbell(store)
    access = Access(mirror.tokens, clock)
    mirror.listen(access.token_changed)
    plane = Plane(
        router=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
        store=store,
        mirror=mirror,
        access=access,
        ring=doorbell.ring,
        clock=clock,
        cluster_key=key,
        addressing=Addressing(settings.domain, is_loopback(settings.host)),
    )
    if settings.log_format == "json":
        plane.access_log = AccessLog(sys.stderr.write)
    await _read_all(mirror, pulse, clock)
    listening = bind(settings.host, settings.port)
    plane.heartbeat.address = address = bound_address(settings.host, listening.getsockname()[1], settings.node_address)
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=False) as http:
        try:
            yield (
                Context(
                    settings=settings,
                    store=store,
                    mirror=mirror,
                    access=access,
                    doorbell=doorbell,
                    runners=Doorbell(store, RUNNERS),
                    plane=plane,
                    variants=load_variants(),
                    clock=clock,
                    pulse=pulse,
                    cluster_key=key,
                    http=http,
                    address=address,
                    figures=ClusterFigures(store, mirror, settings, clock, plane.counting),
                    admin_networks=networks(settings.admin_allow, "STOKER_ADMIN_ALLOW"),
                    trusted_proxies=networks(settings.trusted_proxies, "STOKER_TRUSTED_PROXIES"),
                ),
                listening,
            )
        finally:
            listening.close()


async def _read_all(mirror: Mirror, pulse: Pulse, clock: Clock) -> None:
    """The first copy of everything; a store that goes away meanwhile is waited for."""
    for attempt in range(sys.maxsize):
        try:
            await mirror.open()
            await pulse.look()
        except StoreUnavailable:
            await clock.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
        else:
            return
