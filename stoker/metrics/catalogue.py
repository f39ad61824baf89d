"""Every figure that /metrics shows: name, kind, labels, and where it comes from. docs/metrics.md is held to this table.

A field of the store's counters is `NAME|LABEL|LABEL…`, a histogram's is that with `|bN` for each bucket and `|us` for the sum in
microseconds: whole numbers, so that adding them in any order gives the same.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from stoker.states import Phase, SessionStatus

PREFIX = "stoker_"

NODE_STATUSES = ("ready", "cordoned", "draining", "silent", "lost")
REASONS = frozenset({
    "no_fit", "quota_exceeded", "image_pull", "model_missing", "model_fetch", "model_unsupported",
    "engine_missing", "secret_missing", "disk_full", "start_exit", "start_timeout", "out_of_memory",
    "gpu_fault", "probe_failed", "crash_loop", "node_silent", "node_lost", "preempted",
    "foreign_gpu_process", "port_taken", "definition_failed", "held_by", "stopped_by_user", "service_removed",
})  # fmt: skip
OTHER = "other"
CAUSES = ("spec", "request", "load", "idle", OTHER)
TOKEN_KINDS = ("prompt", "completion")

REQUEST_BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
FIRST_BYTE_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
START_BOUNDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0)
PLACEMENT_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 3600.0)


class Family(NamedTuple):
    """`name` without the prefix, as it is queried. `labels` without the service's where `of_service`; `values` bounds each label,
    None where what exists in the cluster does (nodes, devices). A counter and a histogram are kept in the store, a gauge is looked up.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    of_service: bool = False
    bounds: tuple[float, ...] = ()
    values: tuple[tuple[str, ...] | None, ...] = ()

    @property
    def all_labels(self) -> tuple[str, ...]:
        return ("service", *self.labels) if self.of_service else self.labels


def families() -> tuple[Family, ...]:
    """In the order of the page."""
    reasons = (*sorted(REASONS), OTHER)
    return (
        Family("requests_total", "counter", "Requests that ended, by the status the client was told.", ("code",), True, values=(None,)),
        Family("request_seconds", "histogram", "From a request's head to its answer's end.", of_service=True, bounds=REQUEST_BOUNDS),
        Family(
            "time_to_first_byte_seconds", "histogram", "From sending to the engine to its first byte.", of_service=True,
            bounds=FIRST_BYTE_BOUNDS,
        ),
        Family("requests_in_flight", "gauge", "Requests at engines now.", of_service=True),
        Family("requests_waiting", "gauge", "Requests held now.", of_service=True),
        Family("llm_tokens_total", "counter", "Tokens as the engines count them.", ("kind",), True, values=(TOKEN_KINDS,)),
        Family("service_replicas", "gauge", "Sessions wanted and ready.", ("kind",), True, values=(("wanted", "ready"),)),
        Family("sessions", "gauge", "Sessions by status.", ("status",), values=(tuple(s.value for s in SessionStatus),)),
        Family(
            "session_start_seconds", "histogram", "Time that a start spent in each phase.", ("phase",), bounds=START_BOUNDS,
            values=(tuple(phase.value for phase in Phase),),
        ),
        Family("session_ends_total", "counter", "Sessions that ended, by reason.", ("reason",), True, values=(reasons,)),
        Family("cold_starts_total", "counter", "Times that a request woke a service at zero.", of_service=True),
        Family("gpu_allocated", "gauge", "Share of a GPU that is booked, 0 to 1.", ("node", "gpu"), values=(None, None)),
        Family("gpu_utilization", "gauge", "Busy share of a GPU's time, 0 to 1, as its driver says.", ("node", "gpu"), values=(None, None)),
        Family("gpu_foreign_bytes", "gauge", "GPU memory that processes of others use.", ("node", "gpu"), values=(None, None)),
        Family("jobs", "gauge", "Jobs by status.", ("status",), values=(("queued", "running"),)),
        Family("jobs_oldest_seconds", "gauge", "Age of the oldest job at the head of a queue; 0 without one."),
        Family("placement_seconds", "histogram", "From a session that is wanted to one that has a place.", bounds=PLACEMENT_BOUNDS),
        Family(
            "scale_decisions_total", "counter", "Changes of the number of sessions wanted.", ("direction", "reason"), True,
            values=(("up", "down"), CAUSES),
        ),
        Family("nodes", "gauge", "Nodes by status.", ("status",), values=(NODE_STATUSES,)),
        Family("store_up", "gauge", "1 while the store answers this process."),
        Family("leader", "gauge", "1 while a scheduler leads."),
    )  # fmt: skip


def field(name: str, *labels: str) -> str:
    """Where the store keeps one series of a counter, or what a histogram's fields begin with."""
    return "|".join((name, *labels))


def known_reason(code: str | None) -> str:
    """A reason code of the public contract; `other` for what a plug-in made up, `stopped_by_user` where there is none."""
    if code is None:
        return "stopped_by_user"
    return code if code in REASONS else OTHER
