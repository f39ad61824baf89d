"""One tree of errors; every one knows its HTTP status and its code of the public contract.

StokerError                     500 internal_error
├── InvalidRequest              400 invalid_request          the caller's words are wrong
│   ├── MethodNotAllowed        405 invalid_request          the path exists, with other methods
│   ├── InvalidSpec             400 invalid_spec             `param` is the field's path
│   ├── ModelRequired           400 model_required
│   ├── WebhookRefused          400 webhook_refused
│   └── BodyTooLarge            413 body_too_large
├── Unauthenticated             401 invalid_api_key
│   └── TokenExpired            401 token_expired
├── NotAllowed                  403 not_allowed
│   └── PathRefused             403 path_refused
├── NotFound                    404 not_found
│   └── ModelNotFound           404 model_not_found
├── Conflict                    409 conflict
│   ├── ModelNameTaken          409 model_name_taken
│   ├── JobNotFinished          409 job_not_finished
│   └── VersionConflict         412 version_conflict
├── ResultGone                  410 result_gone
├── IdempotencyKeyReused        422 idempotency_key_reused
├── TooMany                     429 rate_limit_exceeded
│   └── QueueFull               429 queue_full
├── EngineFailed                502 engine_failed
├── Unavailable                 503 no_capacity
│   ├── StartFailed             503 start_failed
│   ├── ServiceStopped          503 service_stopped
│   ├── HandedBack              503 handed_back              to runners of jobs alone: no fault of the job, it waits again
│   └── StoreUnavailable        503 store_unavailable
├── EngineTimeout               504 engine_timeout
├── Refused                     (no HTTP) the store refused a transition: the expected status was not there
├── StaleLeader                 (no HTTP) the writer's epoch is older than the leader's
├── RouterUnreachable           (no HTTP) a client found nobody at the router's URL; exit code 5
└── ConfigurationError          (no HTTP) a setting or the machine forbids the start; exit code 1

The command line maps them to exit codes: 2 invalid, 3 not found, 4 refused, 5 no router, 1 everything else.
"""

from __future__ import annotations

from typing import ClassVar


class StokerError(Exception):
    """`message` is a sentence for a user; `param` names the field it is about, `retry_after` is in seconds (at most 120)."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class InvalidRequest(StokerError):
    status, code = 400, "invalid_request"


class InvalidSpec(InvalidRequest):
    """`param` is the path of the field (`resources.gpu`), `line` its line in the document, counted from 1, where known."""

    code = "invalid_spec"

    def __init__(self, message: str, *, param: str | None = None, line: int | None = None) -> None:
        super().__init__(message, param=param)
        self.line = line


class ModelRequired(InvalidRequest):
    code = "model_required"


class WebhookRefused(InvalidRequest):
    code = "webhook_refused"


class BodyTooLarge(InvalidRequest):
    status, code = 413, "body_too_large"


class MethodNotAllowed(InvalidRequest):
    status = 405


class Unauthenticated(StokerError):
    status, code = 401, "invalid_api_key"


class TokenExpired(Unauthenticated):
    code = "token_expired"


class NotAllowed(StokerError):
    status, code = 403, "not_allowed"


class PathRefused(NotAllowed):
    code = "path_refused"


class NotFound(StokerError):
    status, code = 404, "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class Conflict(StokerError):
    status, code = 409, "conflict"


class ModelNameTaken(Conflict):
    code = "model_name_taken"


class VersionConflict(Conflict):
    status, code = 412, "version_conflict"


class JobNotFinished(Conflict):
    code = "job_not_finished"


class ResultGone(StokerError):
    status, code = 410, "result_gone"


class IdempotencyKeyReused(StokerError):
    status, code = 422, "idempotency_key_reused"


class TooMany(StokerError):
    status, code = 429, "rate_limit_exceeded"


class QueueFull(TooMany):
    code = "queue_full"


class EngineFailed(StokerError):
    status, code = 502, "engine_failed"


class Unavailable(StokerError):
    status, code = 503, "no_capacity"


class StartFailed(Unavailable):
    code = "start_failed"


class ServiceStopped(Unavailable):
    code = "service_stopped"


class HandedBack(Unavailable):
    code = "handed_back"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class EngineTimeout(StokerError):
    status, code = 504, "engine_timeout"


class Refused(StokerError):
    """The store compared the expected old state and found another; the caller re-reads and decides again."""


class StaleLeader(StokerError):
    """A newer leader exists; the caller stops acting as one."""


class RouterUnreachable(StokerError):
    """A client found nobody at the router's URL, or lost the connection; the message names the URL."""


class ConfigurationError(StokerError):
    """The process cannot start like this; the message says what to change."""
