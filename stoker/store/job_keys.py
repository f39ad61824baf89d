"""The keys of jobs, all under the cluster's prefix."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.store.keys import Keys


@dataclass(frozen=True)
class JobKeys:
    keys: Keys

    def _key(self, *parts: str) -> str:
        return ":".join(("stoker", self.keys.cluster, "jobs", *parts))

    def prefix(self) -> str:
        """What a record's key starts with; the id follows."""
        return self._key("record", "")

    def record(self, id: str) -> str:
        """Hash: one JSON value per field."""
        return self.prefix() + id

    def input(self, id: str) -> str:
        return self._key("input", id)

    def result(self, id: str) -> str:
        """JSON of status and content type, a line feed, the body."""
        return self._key("result", id)

    def events(self, id: str) -> str:
        """Stream with ids `NUMBER-0`: what `GET …/events` replays."""
        return self._key("events", id)

    def queue(self, service: str) -> str:
        """Sorted set: queued jobs by place."""
        return self._key("queue", service)

    def queues(self) -> str:
        """What a queue's key starts with; the service's name follows."""
        return self._key("queue", "")

    def event_logs(self) -> str:
        """What an event log's key starts with; the id follows."""
        return self._key("events", "")

    def with_work(self) -> str:
        """Set of services that have queued jobs."""
        return self._key("services")

    def leases(self) -> str:
        """Sorted set: running jobs by the end of their lease."""
        return self._key("leases")

    def deadlines(self) -> str:
        return self._key("deadlines")

    def ended(self) -> str:
        """Sorted set: ended jobs by the time their result is forgotten."""
        return self._key("ended")

    def of_token(self, token: str) -> str:
        """Set of a token's jobs that have not ended."""
        return self._key("token", token)

    def of_project(self, project: str) -> str:
        """Sorted set: all of a project's jobs by the time they were accepted."""
        return self._key("project", project)

    def all_of_token(self, token: str) -> str:
        """Sorted set: all jobs of a token by the time they were accepted."""
        return self._key("token-all", token)

    def idempotency(self, project: str, digest: str) -> str:
        return self._key("idempotency", project, digest)

    def sequence(self) -> str:
        return self._key("sequence")

    def outbox(self) -> str:
        """Sorted set: jobs whose webhook is to be sent, by the time of the next try."""
        return self._key("outbox")

    def webhook_tries(self) -> str:
        """Hash: id to the number of tries."""
        return self._key("outbox", "tries")

    def pausing(self) -> str:
        """Sorted set: queued jobs that wait before their next try, by its time."""
        return self._key("pausing")

    def bytes_kept(self) -> str:
        """How many bytes of inputs and results there are."""
        return self._key("bytes")
