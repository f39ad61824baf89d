"""Refusals of the wire, before anybody knows what a request is about."""

from __future__ import annotations

from stoker.errors import InvalidRequest


class BadRequest(InvalidRequest):
    """Not HTTP as it is spoken here."""


class TooSlow(InvalidRequest):
    status, code = 408, "request_timeout"


class TargetTooLong(InvalidRequest):
    status, code = 414, "target_too_long"


class HeadTooLarge(InvalidRequest):
    status, code = 431, "head_too_large"
