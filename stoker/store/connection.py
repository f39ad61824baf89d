"""From a URL to a Redis client: one server, TLS, a unix socket, or the master that Sentinels name."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import redis.asyncio as aioredis
from redis.asyncio.sentinel import Sentinel

from stoker.errors import ConfigurationError

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")
CONNECTIONS = 64
"""At most so many at once; whoever wants one more waits up to _POOL_SECONDS."""

_POOL_SECONDS = 10
_SENTINEL_PORT = 26_379
_OURS = ("decode_responses", "protocol", "encoding", "max_connections", "timeout")
_TIMEOUTS: dict[str, Any] = {"socket_connect_timeout": 5.0, "health_check_interval": 15}


class Connection(NamedTuple):
    """The client to use, and the Sentinels' own clients, to be closed with it."""

    client: aioredis.Redis
    sentinels: tuple[aioredis.Redis, ...] = ()

    async def close(self) -> None:
        for client in (self.client, *self.sentinels):
            await client.aclose()


def connect(url: str) -> Connection:
    """A client for `url`; nothing is sent yet. Raises ConfigurationError for a URL that cannot work or is unsafe."""
    parts = check_url(url)
    try:
        if parts.scheme == "redis+sentinel":
            return _by_sentinel(parts)
        pool = aioredis.BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, timeout=_POOL_SECONDS, **_TIMEOUTS)
        return Connection(aioredis.Redis.from_pool(pool))
    except ValueError as error:
        raise ConfigurationError(f"STOKER_REDIS_URL cannot be used: {error}") from error


def check_url(url: str) -> SplitResult:
    """The URL's parts. Raises ConfigurationError: malformed, or another host's store without a password."""
    try:
        parts = urlsplit(url)
    except ValueError as error:  # newer Pythons refuse an IPv6 address amid a list of hosts
        raise ConfigurationError(f"STOKER_REDIS_URL is no URL: {error}") from error
    if parts.scheme not in SCHEMES or (parts.scheme == "unix" and not parts.path.startswith("/")):
        raise ConfigurationError("STOKER_REDIS_URL must be redis://, rediss://, unix:///PATH or redis+sentinel://HOST,HOST/NAME")
    for name in parse_qs(parts.query):
        if name in _OURS:
            raise ConfigurationError(f"STOKER_REDIS_URL: {name} is Stoker's to choose; remove it from the URL")
    far = [host for host, _ in hosts(parts) if not is_local(host)]
    if far and not parts.password and "password" not in parse_qs(parts.query):
        raise ConfigurationError(
            f"the store on {far[0]} is another machine's and the URL has no password: set one there (requirepass) and here"
            f" (STOKER_REDIS_URL={parts.scheme}://:PASSWORD@{far[0]}…)"
        )
    return parts


def hosts(parts: SplitResult) -> list[tuple[str, int]]:
    """(host, port) of every server the URL names; none for a unix socket."""
    if parts.scheme == "unix":
        return []
    default = _SENTINEL_PORT if parts.scheme == "redis+sentinel" else 6379
    found = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{place}")
        try:
            found.append((one.hostname or "localhost", one.port or default))
        except ValueError as error:
            raise ConfigurationError(f"STOKER_REDIS_URL: {place!r} is no HOST:PORT") from error
    return found


def is_local(host: str) -> bool:
    """Whether only this machine can be behind that name."""
    return host in ("localhost", "::1") or host.startswith("127.")


def address(url: str) -> str:
    """The URL as it may be shown: without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{unquote(parts.path)}"


def _by_sentinel(parts: SplitResult) -> Connection:
    name, _, database = parts.path.strip("/").partition("/")
    if not name:
        raise ConfigurationError("STOKER_REDIS_URL names no master: redis+sentinel://HOST,HOST/NAME")
    words = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    own = {"username": words.get("sentinel_username"), "password": words.get("sentinel_password")}
    sentinel = Sentinel(hosts(parts), sentinel_kwargs={**_TIMEOUTS, **own, "socket_connect_timeout": 2.0})  # type: ignore[no-untyped-call]
    client: aioredis.Redis = sentinel.master_for(
        name,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        db=int(database or 0),
        ssl=words.get("ssl") == "true",
        **_TIMEOUTS,
    )
    return Connection(client, tuple(sentinel.sentinels))
