"""Who gets a route, and who waits for one: leases, and a bounded queue per service.

A lease is one request on one route; what is in flight is the set of leases, so it cannot drift. A request that finds no
room waits in arrival order per priority; room, a refusal or its deadline answers it, whichever is first.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Collection

from router.backfill import BATCH, reclaim
from router.directory import Directory, Service
from router.route import Lease, Outcome, Route
from stoker.errors import QueueFull, StokerError, Unavailable

Answer = Callable[[Lease | StokerError], None]

WAKE_AGAIN_SECONDS = 5.0
"""How long a service may stay without any starting session, although it was asked for, before it is asked for again."""


class Waiter:
    """A request in the queue. `leave` takes it out; `answer` is called at most once, with a lease or with why there is none."""

    __slots__ = ("answer", "deadline", "order", "priority", "service", "since")

    def __init__(self, service: Service, priority: int, order: int, since: float, deadline: float, answer: Answer) -> None:
        self.service = service
        self.priority = priority
        self.order = order
        self.since = since
        self.deadline = deadline
        self.answer: Answer | None = answer

    def __lt__(self, other: Waiter) -> bool:
        return (-self.priority, self.order) < (-other.priority, other.order)


class Admission:
    """`wake` is called with a service that requests wait for and that has nothing ready or starting; `now` is monotonic."""

    def __init__(self, directory: Directory, now: Callable[[], float], wake: Callable[[str], None]) -> None:
        self._directory = directory
        self._now = now
        self._wake = wake
        self._queues: dict[str, list[Waiter]] = {}
        self._asked_at: dict[str, float] = {}
        self._order = 0
        directory.listen(self.service_changed)

    # leases

    def try_lease(self, service: Service, exclude: Collection[Route] = (), jump: bool = False) -> Lease | None:
        """A route now, or None when the request has to wait. `jump`: a retry does not queue behind those who came later."""
        if self._queues and not jump and self._queues.get(service.name):
            return None
        now = self._now()
        routes = [route for route in service.routes if route.is_open(now)]
        if exclude:
            routes = [route for route in routes if route not in exclude]
        if not routes:
            return None
        service.turn += 1
        route = routes[0] if len(routes) == 1 else service.pick(routes, service.turn, random.getrandbits(64))
        lease = Lease(route, now, bool(route.ejections))
        if lease.trial:
            route.trial = lease
        route.leases.add(lease)
        return lease

    def release(self, lease: Lease, outcome: Outcome) -> None:
        """The request is over on this route, however it went; whoever waits gets the room. Once per lease."""
        route = lease.route
        route.leases.remove(lease)
        if route.trial is lease:
            route.trial = None
        route.record(outcome, lease.trial, self._now())
        if route.draining:
            self._directory.drain_changed(route.session, len(route.leases))
        if self._queues.get(route.service.name):
            self._serve(route.service)

    # waiting

    def wait(self, service: Service, answer: Answer, *, priority: int = 0, order: int | None = None) -> Waiter:
        """Queue up; `answer` is called later, never from here. `order` keeps the place of one who waited before.

        Raises ServiceStopped or StartFailed where nothing will come, QueueFull where too many wait.
        """
        refusal = service.refusal()
        if refusal is not None:
            raise refusal
        queue = self._queues.get(service.name, [])
        if len(queue) >= service.routing.queue:
            alike = sum((waiter.priority == BATCH) is (priority == BATCH) for waiter in queue)
            if alike >= service.routing.queue:
                state = "is busy" if service.routes else "is not ready yet"
                raise QueueFull(f"{service.name} {state} and {alike} requests wait already (routing.queue)")
        queue = self._queues.setdefault(service.name, queue)
        self._order += 1
        now = self._now()
        waiter = Waiter(service, priority, self._order if order is None else order, now, now + service.routing.queue_timeout, answer)
        heapq.heappush(queue, waiter)
        self._want(service, now)
        if priority != BATCH:
            reclaim(service)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Give up the place: the client has gone."""
        waiter.answer = None
        queue = self._queues.get(waiter.service.name)
        if queue and waiter in queue:
            queue.remove(waiter)
            heapq.heapify(queue)
            self._tidy(waiter.service.name)

    async def lease(self, service: Service, deadline: float, priority: int = 0) -> Lease:
        """The same for a caller with a task of its own. Raises what `wait` raises, and Unavailable at `deadline` (monotonic)."""
        found = self.try_lease(service)
        if found is not None:
            return found
        answered: asyncio.Future[Lease | StokerError] = asyncio.get_running_loop().create_future()
        waiter = self.wait(service, answered.set_result, priority=priority)
        waiter.deadline = min(waiter.deadline, deadline)
        try:
            result = await answered
        except asyncio.CancelledError:
            self.leave(waiter)
            if answered.done() and not answered.cancelled() and isinstance(given := answered.result(), Lease):
                self.release(given, Outcome.LEFT)
            raise
        if isinstance(result, StokerError):
            raise result
        return result

    def waiting(self, name: str) -> int:
        """How many requests wait for this service."""
        return len(self._queues.get(name, ()))

    def position(self, waiter: Waiter) -> int:
        """How many are served before it, plus one."""
        return 1 + sum(other < waiter for other in self._queues.get(waiter.service.name, ()))

    def service_changed(self, service: Service) -> None:
        """Routes or the record changed: serve who can be served, answer those for whom nothing will come."""
        if not self._queues.get(service.name):
            return
        refusal = service.refusal()
        if refusal is not None:
            queue = self._queues.pop(service.name)
            self._asked_at.pop(service.name, None)
            for waiter in sorted(queue):
                _answer(waiter, refusal)
            return
        self._serve(service)

    def tick(self, now: float) -> None:
        """Answer those whose time is over; ask again for services that nobody starts. To be called a few times a second."""
        for name in [*self._queues]:
            queue = self._queues[name]
            late = [waiter for waiter in queue if now >= waiter.deadline]
            if late:
                queue[:] = [waiter for waiter in queue if now < waiter.deadline]
                heapq.heapify(queue)
            for waiter in sorted(late):
                _answer(waiter, self._too_late(waiter, now))
            if queue:
                self._want(queue[0].service, now)
                self._serve(queue[0].service)
            self._tidy(name)

    def _serve(self, service: Service) -> None:
        queue = self._queues.get(service.name, [])
        while queue:
            lease = self.try_lease(service, jump=True)
            if lease is None:
                return
            waiter = heapq.heappop(queue)
            if waiter.answer is None:
                self.release(lease, Outcome.LEFT)
            else:
                _answer(waiter, lease)
        self._tidy(service.name)

    def _want(self, service: Service, now: float) -> None:
        if service.routes or service.coming:
            return
        asked = self._asked_at.get(service.name)
        if asked is None or now - asked >= WAKE_AGAIN_SECONDS:
            self._asked_at[service.name] = now
            self._wake(service.name)

    def _tidy(self, name: str) -> None:
        if not self._queues.get(name):
            self._queues.pop(name, None)
            self._asked_at.pop(name, None)

    def _too_late(self, waiter: Waiter, now: float) -> StokerError:
        service = waiter.service
        why = "all its sessions are busy" if service.routes else "no session of it became ready"
        if service.record.reason is not None and not service.routes:
            why += f" ({service.record.reason.message})"
        return Unavailable(f"{service.name}: {why} within {now - waiter.since:.0f} s", retry_after=10)


def _answer(waiter: Waiter, result: Lease | StokerError) -> None:
    answer, waiter.answer = waiter.answer, None
    if answer is not None:
        answer(result)
