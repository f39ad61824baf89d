"""Who is at the other end of the connection, as far as it can be known."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from stoker.errors import ConfigurationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORWARDING = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"})
_HOPS = 32


def networks(words: Iterable[str], setting: str) -> tuple[Network, ...]:
    """CIDRs or single addresses. Raises ConfigurationError that names the setting."""
    try:
        return tuple(ipaddress.ip_network(word.strip(), strict=False) for word in words)
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {error}; write networks such as 10.0.0.0/8") from None


def within(address: Address | None, among: Iterable[Network]) -> bool:
    return address is not None and any(address in network for network in among)


def client_address(scope: Mapping[str, Any], trusted: tuple[Network, ...]) -> Address | None:
    """The connection's other end; where that is a trusted proxy, the nearest one in X-Forwarded-For that is none."""
    peer = _parse(scope["client"][0]) if scope.get("client") else None
    if not within(peer, trusted):
        return peer
    chain = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    for hop in reversed(chain.split(",")[-_HOPS:]):
        found = _parse(hop.strip())
        if found is None:
            return peer
        if not within(found, trusted):
            return found
    return peer


def is_local(scope: Mapping[str, Any], host: str) -> bool:
    """A direct connection from this machine to a router that is bound to loopback, and not by way of a proxy or a foreign name."""
    peer = _parse(scope["client"][0]) if scope.get("client") else None
    if not is_loopback(host) or peer is None or not peer.is_loopback:
        return False
    named = [value for name, value in scope["headers"] if name == b"host"]
    return not any(name in _FORWARDING for name, _ in scope["headers"]) and len(named) == 1 and is_loopback(_host(named[0]))


def is_loopback(host: str) -> bool:
    found = _parse(host.strip("[]"))
    return found.is_loopback if found is not None else host.lower() == "localhost"


def _host(value: bytes) -> str:
    text = value.decode("latin-1")
    return text[: text.rfind("]") + 1] if text.startswith("[") else text.partition(":")[0]


def _parse(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
