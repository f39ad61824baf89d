"""What the command line says to a router: one method per call of the public contract, section 4.

Answers are the contract's JSON objects as dicts. Every method raises the StokerError that the router answered with
(NotFound, InvalidSpec, NotAllowed, …), or RouterUnreachable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from stoker.connection import Connection, error_of, segment
from stoker.errors import RouterUnreachable, StokerError

__all__ = ["Client", "RouterUnreachable"]

Json = dict[str, Any]


class Client(Connection):
    """Talks to the router at `url` with a token. `ask`, `items` and `lines` of Connection do what has no method here."""

    def ready(self) -> Json:
        """{store, leader, version}; raises Unavailable while the router is not ready."""
        return dict(self.ask("GET", "/readyz", timeout=5.0))

    # services

    def services(self, labels: str | None = None) -> list[Json]:
        """All services this token may see; `labels` is `team=nlp,tier=gold`."""
        return self.items("/admin/services", labels=labels)

    def service(self, name: str) -> Json:
        return dict(self.ask("GET", f"/admin/services/{segment(name)}"))

    def put_service(self, name: str, spec: Json | str, *, if_match: int | str | None = None) -> Json:
        """Create or change. `spec` is YAML text or a dict. The service, with `created`, `changed` and `notes` besides."""
        return self._put(name, spec, if_match, dry_run=False)

    def dry_run(self, name: str, spec: Json | str) -> Json:
        """What a put would do: the contract's dry-run object."""
        return self._put(name, spec, None, dry_run=True)

    def delete_service(self, name: str, *, now: bool = False) -> Json:
        return dict(self.ask("DELETE", f"/admin/services/{segment(name)}", query={"now": now}))

    def scale(self, name: str, replicas: int | Json) -> Json:
        """`replicas` is a number or {"min": …, "max": …}."""
        return self._act(name, "scale", {"replicas": replicas})

    def restart(self, name: str, *, session: str | None = None, refresh: bool = False) -> Json:
        """All sessions anew, or only one; `refresh` chooses anew what auto chose."""
        return self._act(name, "restart", {"session": session, "refresh": refresh})

    def rollback(self, name: str, revision: int | None = None) -> Json:
        """Back to the spec of `revision`, or to the one before the current."""
        return self._act(name, "rollback", {"revision": revision})

    def explain(self, name: str) -> Json:
        """Why its sessions are where they are, or nowhere: the contract's explain object."""
        return dict(self.ask("GET", f"/admin/services/{segment(name)}/explain"))

    def service_events(self, name: str, *, since: float | None = None) -> list[Json]:
        """Oldest first; `since` in seconds since the epoch."""
        return self.items(f"/admin/services/{segment(name)}/events", since=since)

    def revisions(self, name: str) -> list[Json]:
        """Newest first."""
        return self.items(f"/admin/services/{segment(name)}/revisions")

    def routes(self, name: str) -> list[Json]:
        return self.items(f"/admin/services/{segment(name)}/routes")

    def logs(
        self, name: str, *, tail: int | None = None, since: float | None = None, follow: bool = False, session: str | None = None,
        previous: bool = False,
    ) -> Iterator[str]:  # fmt: skip
        """Lines `SESSION TIME TEXT` of all its sessions; `since` in seconds since the epoch; `follow` goes on until the caller stops."""
        path, quiet = f"/admin/services/{segment(name)}/logs", None if follow else 60.0
        return self.lines("GET", path, quiet=quiet, tail=tail, since=since, follow=follow, session=session, previous=previous)

    # sessions, nodes

    def sessions(self, service: str | None = None, *, ended: bool = False) -> list[Json]:
        """Live sessions, with `ended` also those that are over."""
        return self.items("/admin/sessions", service=service, all=ended)

    def session(self, id: str) -> Json:
        """By id or unique prefix."""
        return dict(self.ask("GET", f"/admin/sessions/{segment(id)}"))

    def session_logs(self, id: str, *, tail: int | None = None, since: float | None = None, follow: bool = False) -> Iterator[str]:
        path, quiet = f"/admin/sessions/{segment(id)}/logs", None if follow else 60.0
        return self.lines("GET", path, quiet=quiet, tail=tail, since=since, follow=follow)

    def weigh_session(self, id: str, weight: int) -> Json:
        """The route's weight, 0..100."""
        return dict(self.ask("POST", f"/admin/sessions/{segment(id)}/weight", body={"weight": weight}))

    def delete_session(self, id: str, *, now: bool = False) -> Json:
        """Drain it (with `now`, kill it); a new one takes its place if the service still wants it."""
        return dict(self.ask("DELETE", f"/admin/sessions/{segment(id)}", query={"now": now}))

    def nodes(self) -> list[Json]:
        return self.items("/admin/nodes")

    def node(self, name: str) -> Json:
        return dict(self.ask("GET", f"/admin/nodes/{segment(name)}"))

    def cordon(self, name: str, gpu: str | None = None) -> Json:
        """No new sessions there, or on one GPU of it."""
        return dict(self.ask("POST", f"/admin/nodes/{segment(name)}/cordon", body={"gpu": gpu}))

    def uncordon(self, name: str) -> Json:
        return dict(self.ask("POST", f"/admin/nodes/{segment(name)}/uncordon", body={}))

    def drain(self, name: str, timeout: float = 300.0) -> Json:
        """Cordoned, and its sessions move away within `timeout` seconds."""
        return dict(self.ask("POST", f"/admin/nodes/{segment(name)}/drain", body={"timeout": timeout}))

    def remove_node(self, name: str, *, lost: bool = False) -> Json:
        """Forget a node that holds nothing; `lost` writes off the sessions of one that will not come back."""
        return dict(self.ask("DELETE", f"/admin/nodes/{segment(name)}", query={"lost": lost}))

    # tokens

    def tokens(self, *, all_projects: bool = False) -> list[Json]:
        return self.items("/admin/tokens", all=all_projects)

    def create_token(self, **fields: object) -> Json:
        """Fields name, project, role, services (list), expires (a duration such as "90d", or "never"), limits; None is left out.

        The answer has the secret as `token`, this once.
        """
        return dict(self.ask("POST", "/admin/tokens", body={name: value for name, value in fields.items() if value is not None}))

    def rotate_token(self, id: str, overlap: str | float | None = None) -> Json:
        """A new token like it; the old one ends after `overlap` (24h)."""
        return dict(self.ask("POST", f"/admin/tokens/{segment(id)}/rotate", body={} if overlap is None else {"overlap": overlap}))

    def revoke_token(self, id: str) -> None:
        self.ask("DELETE", f"/admin/tokens/{segment(id)}")

    # what is there

    def variants(self) -> list[Json]:
        return self.items("/admin/variants")

    def models(self) -> list[Json]:
        return self.items("/admin/models")

    def engines(self) -> list[Json]:
        return self.items("/admin/engines")

    def queue(self) -> list[Json]:
        """Sessions that wait for room, in the order of their turn."""
        return self.items("/admin/queue")

    def events(self, *, since: float | None = None) -> list[Json]:
        return self.items("/admin/events", since=since)

    # inference

    def served_models(self) -> list[Json]:
        """What /v1/models lists for this token."""
        return list(self.ask("GET", "/v1/models")["data"])

    def chat(self, model: str, messages: list[Json], *, timeout: float | None = None, **options: object) -> Iterator[Json]:
        """The chunks of a streamed chat completion. Raises StokerError where the stream ends with an error."""
        body = {"model": model, "messages": messages, "stream": True, **options}
        failing = False
        for line in self.lines("POST", "/v1/chat/completions", body=body, quiet=timeout):
            if line == "event: error":
                failing = True
            if not line.startswith("data:"):
                continue
            data = line[5:].strip()
            if data == "[DONE]":
                return
            if failing:
                raise error_of(502, data.encode(), {})
            yield json.loads(data)
        raise StokerError("the stream ended before its end")

    def _put(self, name: str, spec: Json | str, if_match: int | str | None, *, dry_run: bool) -> Json:
        headers = {"content-type": "application/json" if isinstance(spec, dict) else "application/yaml"}
        if if_match is not None:
            headers["if-match"] = f'"{if_match}"'
        text = json.dumps(spec) if isinstance(spec, dict) else spec
        return dict(self.ask("PUT", f"/admin/services/{segment(name)}", text=text, headers=headers, query={"dry_run": dry_run}))

    def _act(self, name: str, verb: str, body: Json) -> Json:
        given = {field: value for field, value in body.items() if value is not None}
        return dict(self.ask("POST", f"/admin/services/{segment(name)}/{verb}", body=given))
