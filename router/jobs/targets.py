"""Where a webhook may go: never to this network unless the operator says so. Pure; the caller resolves and connects.

The name is resolved once, every address of it is judged, and the connection goes to the judged address: a name that
changes its mind in between (DNS rebinding) gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from stoker.errors import WebhookRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LONGEST = 2048
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Target(NamedTuple):
    """The parts of a webhook's URL that a delivery needs."""

    scheme: str
    host: str
    port: int
    path: str


class Allowed(NamedTuple):
    """STOKER_WEBHOOK_ALLOW: host names, and networks whose addresses are fine although private."""

    hosts: frozenset[str]
    networks: tuple[Network, ...]


def parse_allowed(entries: Iterable[str]) -> Allowed:
    """Host names and CIDRs or addresses, mixed."""
    hosts: set[str] = set()
    networks: list[Network] = []
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry.strip(), strict=False))
        except ValueError:
            hosts.add(entry.strip().lower().rstrip("."))
    return Allowed(frozenset(hosts), tuple(networks))


def parse(url: str) -> Target:
    """Raises WebhookRefused for what is no plain http(s) URL of a host: other schemes, credentials, odd spellings."""
    if len(url) > LONGEST or any(character <= " " or character == "\\" for character in url):
        raise WebhookRefused("a webhook is a URL of at most 2048 characters without blanks or backslashes", param="webhook")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise WebhookRefused(f"the webhook is no URL: {error}", param="webhook") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise WebhookRefused("a webhook starts with https:// or http:// and names a host", param="webhook")
    if parts.username is not None or parts.password is not None:
        raise WebhookRefused("a webhook's URL carries no user name or password", param="webhook")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname.rstrip("."), port or _PORTS[parts.scheme], path)


def judge(target: Target, addresses: Iterable[str], allowed: Allowed) -> str:
    """The address to connect to. Raises WebhookRefused unless every address of the host may be reached."""
    found = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    if not found:
        raise WebhookRefused(f"the webhook's host {target.host} has no address", param="webhook")
    for address in found:
        if not _reachable(address, allowed) and target.host not in allowed.hosts:
            message = f"the webhook's host {target.host} is {address}: private and loopback addresses need STOKER_WEBHOOK_ALLOW"
            raise WebhookRefused(message, param="webhook")
    return str(found[0])


def _reachable(address: Address, allowed: Allowed) -> bool:
    """Public, or explicitly allowed, and so is whatever IPv4 address it wraps."""
    if any(address in network for network in allowed.networks):
        return True
    inner = _wrapped(address)
    if inner is not None:
        return _reachable(inner, allowed)
    return address.is_global and not address.is_multicast and not address.is_reserved


def _wrapped(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour
