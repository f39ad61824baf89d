"""Is this Redis safe to keep a platform in? Asked once at the start; what is unsafe is said in words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from redis.exceptions import ResponseError

from stoker.errors import ConfigurationError, StokerError
from stoker.store.database import Database

log = logging.getLogger(__name__)

SCHEMA = 1
"""Of the keys and records that this version reads and writes."""

LEAST_VERSION = (6, 2)


class Finding(NamedTuple):
    """An `error` forbids the start; a `warning` is logged. `message` says what to change."""

    level: Literal["error", "warning"]
    message: str


async def inspect(database: Database) -> list[Finding]:
    """Everything about the server behind `database` that is unsafe, errors first. Raises StoreUnavailable."""
    info = await database.ask(database.client.info)
    if int(info.get("cluster_enabled", 0)):  # it answers nothing else before it has its slots
        return _kind(info)
    schema = int(await database.ask(lambda: database.client.get(database.keys.schema())) or SCHEMA)
    found = [*_kind(info), *_schema(schema), *_memory(info), *_durability(info, await _fsync(database))]
    return sorted(found, key=lambda finding: finding.level)


async def refuse_unsafe(database: Database) -> list[Finding]:
    """Log the warnings and return them. Raises ConfigurationError with all errors in one message."""
    found = await inspect(database)
    errors = [finding.message for finding in found if finding.level == "error"]
    if errors:
        raise ConfigurationError("the store cannot be used: " + "; ".join(errors))
    for finding in found:
        log.warning("the store is not safe: %s", finding.message)
    return found


def _kind(info: Mapping[str, Any]) -> list[Finding]:
    found = []
    text = str(info.get("redis_version", "0"))
    version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if "valkey_version" not in info and version < LEAST_VERSION:
        found.append(Finding("error", f"it is Redis {text}; use Redis 6.2 or newer, or Valkey"))
    if int(info.get("cluster_enabled", 0)):
        found.append(Finding("error", "it is a Redis Cluster; use a single server, or a master with replicas under Sentinel"))
    if info.get("role") == "slave":
        found.append(Finding("error", "it is a replica, which takes no writes; name its master, or use redis+sentinel://HOST,HOST/NAME"))
    return found


def _schema(schema: int) -> list[Finding]:
    if schema <= SCHEMA:
        return []
    return [Finding("error", f"its data is of a newer Stoker (schema {schema}, this one knows {SCHEMA}); upgrade this process")]


def _memory(info: Mapping[str, Any]) -> list[Finding]:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy == "noeviction":
        return []
    if int(info.get("maxmemory", 0)) > 0:
        return [Finding("error", f"it throws data away when its memory is full (maxmemory-policy {policy}); set it to noeviction")]
    return [Finding("warning", f"maxmemory-policy is {policy}; set it to noeviction before you ever set maxmemory")]


def _durability(info: Mapping[str, Any], fsync: str | None) -> list[Finding]:
    """AOF state is in INFO, which every server gives; the fsync policy only in CONFIG, which managed ones forbid."""
    if not int(info.get("aof_enabled", 0)):
        return [Finding("warning", "appendonly is off: if it is killed, what was accepted is lost; set appendonly yes, appendfsync always")]
    found = []
    if info.get("aof_last_write_status", "ok") != "ok":
        found.append(Finding("error", "it cannot write its append-only file; see its log and its disk"))
    if fsync is None:
        found.append(Finding("warning", "it does not let Stoker read its configuration; make sure that appendfsync is always"))
    elif fsync != "always":
        found.append(Finding("warning", f"appendfsync is {fsync}: if it is killed, the last second may be lost; set appendfsync always"))
    return found


async def _fsync(database: Database) -> str | None:
    try:
        answer: dict[str, str] = await database.ask(lambda: database.client.config_get("appendfsync"))
    except StokerError as error:
        if isinstance(error.__cause__, ResponseError):
            return None
        raise
    return answer.get("appendfsync")
