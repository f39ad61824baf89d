"""What a process tells: its log, one line per record without secrets, and a small HTTP for its health and metrics."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import re
import sys
from collections.abc import Awaitable, Callable
from typing import TextIO

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from stoker.errors import ConfigurationError

FIELD_LIMIT = 8 * 1024
"""Characters of a log record's message, and of its traceback, before they are cut."""

_SECRETS = re.compile(
    r"(?P<keep>\b(?:sk-|hf_|whsec_)|\bBearer\s+|x-api-key['\"]?\s*[:=]\s*['\"]?|://[^/\s:@]*:)[^\s'\",;@]+(?P<after>@?)", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_HEAD_LIMIT, _HEAD_SECONDS, _CONNECTIONS = 8 * 1024, 5.0, 32


def mask(text: str) -> str:
    """`text` without what looks like a token, a bearer value or the password of a URL."""
    return _SECRETS.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    if found["keep"].startswith("://"):
        return f"{found['keep']}…@" if found["after"] else found[0]
    return f"{found['keep']}…{found['after']}"


def clean(text: str) -> str:
    """One printable line of at most FIELD_LIMIT characters, secrets masked."""
    masked = mask(text[: 4 * FIELD_LIMIT])  # before the cut, which could split a secret from what marks it
    cut = masked if len(text) <= FIELD_LIMIT else masked[:FIELD_LIMIT] + f"… ({len(text)} characters in all)"
    return _CONTROL.sub(lambda c: _SHORT.get(c[0]) or f"\\x{ord(c[0]):02x}", cut)


class LineFormatter(logging.Formatter):
    """Text lines `TIME LEVEL LOGGER MESSAGE`, or JSON objects {time, level, process, logger, message, exception}."""

    def __init__(self, process: str, as_json: bool) -> None:
        super().__init__()
        self._process = process
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = clean(record.getMessage())
        trace = clean(self.formatException(record.exc_info)) if record.exc_info else ""
        if self._as_json:
            words = {"time": when, "level": record.levelname.lower(), "process": self._process, "logger": record.name, "message": message}
            return json.dumps(words | ({"exception": trace} if trace else {}), ensure_ascii=False)
        return f"{when} {record.levelname} {record.name} {message}{' | ' + trace if trace else ''}"


def configure_logging(process: str, log_format: str = "text", *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send this process's log to stderr (or `stream`). `log_format`: text | json. Call it once, in `main`.

    Libraries that tell about every request, or about every job with its arguments, are heard from warnings on.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LineFormatter(process, log_format == "json"))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in ("arq", "asyncio", "httpx2", "httpcore2", "uvicorn", "aiodocker"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


async def serve_health(
    bind: str,
    registry: CollectorRegistry,
    ready: Callable[[], bool] = lambda: True,
    look: Callable[[], Awaitable[None]] | None = None,
) -> asyncio.Server:
    """Answer GET /healthz, /readyz and /metrics on `HOST:PORT`; close what is returned to end it. `look` is awaited before /metrics.

    Raises ConfigurationError when `bind` is malformed or the port is taken.
    """
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"STOKER_HEALTH_BIND must be HOST:PORT, such as 127.0.0.1:9100, not {bind!r}")
    open_now: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        try:
            if len(open_now) <= _CONNECTIONS:
                await _answer(reader, writer, registry, ready, look)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that left, stalled or speaks no HTTP
        finally:
            open_now.discard(writer)
            writer.close()

    try:
        return await asyncio.start_server(connected, host.strip("[]") or None, int(port), limit=_HEAD_LIMIT)
    except OSError as error:
        raise ConfigurationError(f"STOKER_HEALTH_BIND={bind}: cannot listen there: {error.strerror}") from error


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    registry: CollectorRegistry,
    ready: Callable[[], bool],
    look: Callable[[], Awaitable[None]] | None,
) -> None:
    async with asyncio.timeout(_HEAD_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if look is not None and target.split("?", 1)[0] == "/metrics":
            await look()
        status, kind, body = _page(method, target.split("?", 1)[0], registry, ready)
        lines = (f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", "connection: close", "", "")
        writer.write("\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" else body))
        await writer.drain()


def _page(method: str, path: str, registry: CollectorRegistry, ready: Callable[[], bool]) -> tuple[str, str, bytes]:
    text = "text/plain; charset=utf-8"
    if method not in ("GET", "HEAD"):
        return "405 Method Not Allowed", text, b"only GET is answered here\n"
    if path == "/healthz":
        return "200 OK", text, b"ok\n"
    if path == "/readyz":
        return ("200 OK", text, b"ok\n") if ready() else ("503 Service Unavailable", text, b"not ready\n")
    if path == "/metrics":
        return "200 OK", CONTENT_TYPE_LATEST, generate_latest(registry)
    return "404 Not Found", text, b"there are /healthz, /readyz and /metrics\n"
