"""Parsed specs of the services of a snapshot. Parsing is dear, and a spec only changes with its version."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from stoker.errors import InvalidSpec
from stoker.records import ServiceRecord
from stoker.specs import ServiceSpec

log = logging.getLogger(__name__)

_Key = tuple[float, int]


class SpecCache:
    """Holds one spec per service that exists."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[_Key, ServiceSpec | None]] = {}

    def read(self, services: Mapping[str, ServiceRecord]) -> dict[str, ServiceSpec]:
        """By name. A spec that this version cannot read (a newer one wrote it) is told once and left out: nobody touches its service."""
        for name in self._kept.keys() - services.keys():
            del self._kept[name]
        found = {}
        for name, service in services.items():
            key = (service.created_at, service.version)
            held = self._kept.get(name)
            if held is None or held[0] != key:
                held = self._kept[name] = (key, _parse(service))
            if held[1] is not None:
                found[name] = held[1]
        return found


def _parse(service: ServiceRecord) -> ServiceSpec | None:
    try:
        return ServiceSpec.from_json(service.spec)
    except InvalidSpec as error:
        log.error("the spec of the service %s cannot be read by this version and is left alone: %s", service.name, error.message)
        return None
