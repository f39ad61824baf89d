"""One POST of a webhook: to the address that was judged, without redirects, within seconds, with little of the answer read."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from router.jobs.reach import resolve
from router.jobs.targets import Allowed, Target, judge, parse

SECONDS = 5.0
ANSWER_LIMIT = 65_536


class NotDelivered(Exception):
    """Why, in a sentence. `final`: the receiver does not want it at all (410)."""

    def __init__(self, why: str, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


async def deliver(url: str, headers: Mapping[str, str], body: bytes, allowed: Allowed) -> None:
    """Raises NotDelivered, WebhookRefused."""
    target = parse(url)
    try:
        async with asyncio.timeout(SECONDS):
            status = await _post(target, judge(target, await resolve(target), allowed), headers, body)
    except TimeoutError:
        raise NotDelivered(f"{target.host} did not answer within {SECONDS:g} s") from None
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise NotDelivered(f"{target.host}: {error}") from None
    if not 200 <= status < 300:
        raise NotDelivered(f"{target.host} answered {status}", final=status == 410)


async def _post(target: Target, address: str, headers: Mapping[str, str], body: bytes) -> int:
    """The answer's status. The host's name is checked against its certificate, the connection goes to the address."""
    secure = ssl.create_default_context() if target.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        address, target.port, ssl=secure, server_hostname=target.host if secure else None, limit=ANSWER_LIMIT
    )
    try:
        writer.write(_head(target, headers, len(body)) + body)
        await writer.drain()
        words = (await reader.readuntil(b"\r\n")).split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise NotDelivered(f"{target.host} does not answer in HTTP")
        return int(words[1])
    finally:
        writer.transport.abort()


def _head(target: Target, headers: Mapping[str, str], length: int) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = target.port == (443 if target.scheme == "https" else 80)
    lines = [f"POST {target.path} HTTP/1.1", f"host: {host}{'' if usual else f':{target.port}'}"]
    lines += ["content-type: application/json", f"content-length: {length}", "user-agent: stoker", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii", "replace")
