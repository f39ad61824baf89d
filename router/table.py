"""Every call that this router answers itself, and who may make it. What is not here is 404; what goes to engines is not here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from starlette.responses import Response

from router import models, operations
from router.admin import actions, catalogue, logs, nodes, observe, openapi, services, sessions, shapes, tokens
from router.admin.call import Call
from router.jobs import api as jobs
from router.jobs import events as job_events
from router.jobs import submission
from router.jobs import views as job_views
from router.rules import Rule

Handler = Callable[[Call], Awaitable[Response]]
_PAGING = ("limit", "cursor")
_LOGS = ("tail", "since", "follow", "session", "previous")


class Entry(NamedTuple):
    """`handler`'s docstring is what openapi.json says; `body` and `answer` are its forms; `query` names its parameters."""

    method: str
    path: str
    rule: Rule
    handler: Handler
    answer: Any = None
    body: Any = None
    query: tuple[str, ...] = ()
    status: int = 200


def table() -> tuple[Entry, ...]:
    """In the order in which they are tried."""
    return (*_operations(), *_jobs(), *_services(), *_sessions(), *_nodes(), *_tokens(), *_catalogue())


def _operations() -> tuple[Entry, ...]:
    return (
        Entry("GET", "/healthz", Rule.ANYONE, operations.healthz),
        Entry("GET", "/readyz", Rule.ANYONE, operations.readyz),
        Entry("GET", "/metrics", Rule.LOCAL, operations.metrics),
        Entry("GET", "/v1/models", Rule.MODELS, models.index),
        Entry("GET", "/v1/models/{id:path}", Rule.MODELS, models.show),
    )


def _jobs() -> tuple[Entry, ...]:
    one, wait = "/v1/jobs/{id}", ("wait",)
    return (
        Entry("POST", "/v1/jobs", Rule.INFER, submission.submit, job_views.Job, submission.Submit, (), 202),
        Entry("GET", "/v1/jobs", Rule.INFER, jobs.index, shapes.Page[job_views.Job], None, ("status", "service", *_PAGING)),
        Entry("GET", one, Rule.INFER, jobs.show, job_views.Job, None, wait),
        Entry("DELETE", one, Rule.INFER, jobs.cancel, job_views.Job),
        Entry("POST", f"{one}/retry", Rule.INFER, submission.retry, job_views.Job, None, (), 202),
        Entry("GET", f"{one}/result", Rule.INFER, jobs.result, None, None, wait),
        Entry("GET", f"{one}/events", Rule.INFER, job_events.events, str, None, ("follow",)),
        Entry("GET", "/admin/webhook-secret", Rule.WRITE, jobs.webhook_secret, jobs.WebhookSecret, None, ("project",)),
    )


def _services() -> tuple[Entry, ...]:
    one, event_query = "/admin/services/{name}", ("since", "limit")
    changed = shapes.Applied
    return (
        Entry("GET", "/admin/services", Rule.READ, services.index, shapes.Page[shapes.Service], None, ("labels", "project", *_PAGING)),
        Entry("GET", one, Rule.READ, services.show, shapes.Service),
        Entry("PUT", one, Rule.WRITE, services.put, changed, dict[str, Any], ("dry_run",), 201),
        Entry("DELETE", one, Rule.WRITE, services.delete, shapes.Service, None, ("now",), 202),
        Entry("POST", f"{one}/scale", Rule.WRITE, actions.scale, changed, actions.Scale),
        Entry("POST", f"{one}/restart", Rule.WRITE, actions.restart, changed, actions.Restart),
        Entry("POST", f"{one}/rollback", Rule.WRITE, actions.rollback, changed, actions.Rollback),
        Entry("GET", f"{one}/explain", Rule.READ, observe.explain, shapes.Explained),
        Entry("GET", f"{one}/events", Rule.READ, observe.events, shapes.Page[shapes.Happening], None, event_query),
        Entry("GET", f"{one}/revisions", Rule.READ, observe.revisions, shapes.Page[shapes.Revision]),
        Entry("GET", f"{one}/routes", Rule.READ, observe.routes, shapes.Page[shapes.Route], None, _PAGING),
        Entry("GET", f"{one}/logs", Rule.WRITE, logs.service, str, None, _LOGS),
        Entry("GET", "/admin/routes", Rule.READ, observe.all_routes, shapes.Page[shapes.Route], None, _PAGING),
        Entry("GET", "/admin/events", Rule.READ, observe.all_events, shapes.Page[shapes.Happening], None, event_query),
    )


def _sessions() -> tuple[Entry, ...]:
    one, page = "/admin/sessions/{id}", shapes.Page[shapes.Session]
    return (
        Entry("GET", "/admin/sessions", Rule.READ, sessions.index, page, None, ("service", "node", "all", *_PAGING)),
        Entry("GET", one, Rule.READ, sessions.show, shapes.Session),
        Entry("DELETE", one, Rule.WRITE, sessions.end, shapes.Session, None, ("now",), 202),
        Entry("POST", f"{one}/weight", Rule.WRITE, sessions.weigh, shapes.Session, sessions.Weight),
        Entry("GET", f"{one}/logs", Rule.WRITE, logs.session, str, None, ("tail", "since", "follow")),
        Entry("GET", "/admin/queue", Rule.READ, sessions.queue, page, None, _PAGING),
    )


def _nodes() -> tuple[Entry, ...]:
    one = "/admin/nodes/{name}"
    return (
        Entry("GET", "/admin/nodes", Rule.READ, nodes.index, shapes.Page[shapes.Node], None, _PAGING),
        Entry("GET", one, Rule.READ, nodes.show, shapes.Node),
        Entry("DELETE", one, Rule.ADMIN, nodes.remove, shapes.Node, None, ("lost",)),
        Entry("POST", f"{one}/cordon", Rule.ADMIN, nodes.cordon, shapes.Node, nodes.Cordon),
        Entry("POST", f"{one}/uncordon", Rule.ADMIN, nodes.uncordon, shapes.Node, nodes.Cordon),
        Entry("POST", f"{one}/drain", Rule.ADMIN, nodes.drain, shapes.Node, nodes.Drain, (), 202),
    )


def _tokens() -> tuple[Entry, ...]:
    one = "/admin/tokens/{id}"
    return (
        Entry("GET", "/admin/tokens", Rule.READ, tokens.index, shapes.Page[shapes.Token], None, ("all", "project", *_PAGING)),
        Entry("POST", "/admin/tokens", Rule.WRITE, tokens.create, shapes.Token, tokens.Create, (), 201),
        Entry("DELETE", one, Rule.WRITE, tokens.revoke, None, None, (), 204),
        Entry("POST", f"{one}/rotate", Rule.WRITE, tokens.rotate, shapes.Token, tokens.Rotate, (), 201),
    )


def _catalogue() -> tuple[Entry, ...]:
    return (
        Entry("GET", "/admin/variants", Rule.READ, catalogue.variants, shapes.Page[shapes.Variant], None, _PAGING),
        Entry("GET", "/admin/models", Rule.READ, catalogue.models, shapes.Page[shapes.Model], None, _PAGING),
        Entry("GET", "/admin/engines", Rule.READ, catalogue.engines, shapes.Page[shapes.InstalledEngine], None, _PAGING),
        Entry("GET", "/admin/openapi.json", Rule.TOKEN, openapi.show),
    )
