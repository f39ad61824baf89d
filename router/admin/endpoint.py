"""The address under which a service is reached for its whole life."""

from __future__ import annotations

from stoker.settings import Settings

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104


def endpoint(name: str, settings: Settings, address: str) -> str:
    """`https://NAME.DOMAIN` where a domain is set, else a path below the public URL or the bound address."""
    if settings.domain:
        return f"https://{name}.{settings.domain.strip('.')}"
    return f"{(settings.public_url or address).rstrip('/')}/services/{name}"


def bound_address(host: str, port: int, node_address: str) -> str:
    """http://HOST:PORT of a listening socket; one that listens on every address is named by the node's."""
    if host in _ANYWHERE:
        host = node_address if node_address not in ("", "127.0.0.1") else _ANYWHERE[host]
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{port}"
