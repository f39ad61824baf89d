"""Health checks of routes: each is probed by one of the live routers, and all learn what it saw.

The owner of a route is the router with the highest hash of (router, session): when routers come and go, few routes change
hands. A route whose engine sent something within the interval is alive, whatever its probe would say, and is not probed:
an engine that serves one request at a time is not made to queue a probe behind it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable

import httpx2
import msgspec

from router.directory import Directory
from router.heartbeat import Heartbeat
from router.route import Route
from stoker.clock import Clock
from stoker.errors import StoreUnavailable
from stoker.records import Reason, RouteHealth
from stoker.store.store import Store

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often routes are looked at for a probe that is due, and for what other routers published."""

PROBES_AT_ONCE = 32


def owner(session: str, routers: Iterable[str]) -> str:
    """Which router probes this session (rendezvous hashing, Thaler and Ravishankar 1998)."""
    return max(routers, key=lambda router: hashlib.blake2b(f"{router}\0{session}".encode(), digest_size=8).digest())


class Watch(msgspec.Struct):
    """What this router knows of a route that it probes."""

    due_at: float
    misses: int = 0
    healthy: bool = True
    under_way: bool = False


class Prober:
    """Probes the routes that are this router's, publishes changes, and applies what others published."""

    def __init__(self, store: Store, directory: Directory, heartbeat: Heartbeat, clock: Clock) -> None:
        self._store = store
        self._directory = directory
        self._heartbeat = heartbeat
        self._clock = clock
        self._watches: dict[str, Watch] = {}
        self._slots = asyncio.Semaphore(PROBES_AT_ONCE)

    async def run(self) -> None:
        """Until cancelled."""
        limits = httpx2.Limits(max_keepalive_connections=0)
        async with httpx2.AsyncClient(trust_env=False, follow_redirects=False, limits=limits) as http, asyncio.TaskGroup() as group:
            while True:
                mine = self._mine()
                for route in mine:
                    if self._is_due(route):
                        self._watches[route.session].under_way = True
                        group.create_task(self._probe(http, route))
                await self._learn({route.session for route in mine})
                await self._clock.sleep(LOOK_SECONDS)

    def _mine(self) -> list[Route]:
        live = self._heartbeat.live
        routes = [route for route in self._directory.routes.values() if owner(route.session, live) == self._heartbeat.router]
        for session in self._watches.keys() - {route.session for route in routes}:
            del self._watches[session]
        return routes

    def _is_due(self, route: Route) -> bool:
        now, interval = self._clock.monotonic(), route.resolution.health.interval
        watch = self._watches.setdefault(route.session, Watch(due_at=now + interval))
        if watch.under_way or now < watch.due_at:
            return False
        watch.due_at = now + interval
        if now - route.flowed_at < interval:
            watch.misses = 0
            return not watch.healthy
        return route.resolution.health.enable

    async def _probe(self, http: httpx2.AsyncClient, route: Route) -> None:
        async with self._slots:
            why = await self._look(http, route)
        watch = self._watches.get(route.session)
        if watch is None:
            return
        watch.under_way = False
        watch.misses = watch.misses + 1 if why else 0
        healthy = watch.misses < route.resolution.health.max_retries
        if healthy is not watch.healthy:
            watch.healthy = healthy
            await self._publish(route, watch, why)
        route.probed = healthy
        route.reason = Reason("probe_failed", why) if why and not healthy else None if healthy else route.reason

    async def _look(self, http: httpx2.AsyncClient, route: Route) -> str | None:
        """None when the engine answers as its health check says, else what was wrong."""
        health = route.resolution.health
        host, _, port = route.address.rpartition(":")
        try:
            async with asyncio.timeout(health.max_wait_time):
                if health.path is None:
                    _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                    writer.close()
                    return None
                headers = dict([route.authorization.decode().strip().split(": ", 1)]) if route.authorization else {}
                answer = await http.get(f"http://{route.address}{health.path}", headers=headers, timeout=health.max_wait_time)
        except TimeoutError:
            return f"no answer to its health check within {health.max_wait_time:g} s"
        except (OSError, httpx2.HTTPError) as error:
            return f"its health check failed: {error or type(error).__name__}"
        if answer.status_code != health.expected_status_code:
            return f"its health check answered {answer.status_code}, not {health.expected_status_code}"
        return None

    async def _publish(self, route: Route, watch: Watch, why: str | None) -> None:
        reason = Reason("probe_failed", why) if why and not watch.healthy else None
        if reason is not None:
            log.warning("%s gets no requests: %s", route.session, reason.message)
        try:
            since = await self._store.time()
            word = "healthy" if watch.healthy else "unhealthy"
            await self._store.routers.set_health(route.session, RouteHealth(health=word, misses=watch.misses, since=since, reason=reason))
        except StoreUnavailable:
            watch.healthy = not watch.healthy

    async def _learn(self, mine: set[str]) -> None:
        """What other routers see of theirs."""
        try:
            known = await self._store.routers.health()
        except StoreUnavailable:
            return
        await self._forget(known.keys() - self._directory.routes.keys())
        for session, route in self._directory.routes.items():
            seen = known.get(session)
            if session not in mine:
                route.probed = seen is None or seen.health != "unhealthy"
                route.reason = seen.reason if seen else route.reason

    async def _forget(self, gone: set[str]) -> None:
        """Sessions that have no route any more leave no record of their health."""
        for session in gone:
            if owner(session, self._heartbeat.live) == self._heartbeat.router:
                try:
                    await self._store.routers.forget_health(session)
                except StoreUnavailable:
                    return
