"""uvicorn's HTTP protocol with limits: on the head, on the time it takes, on what may follow it.

uvicorn has none of its own (a head of 10 MB passes, a silent socket lives for ever). Refusals, by facts about the wire only:

  400  no or two Hosts (1.1), a Host that is none, a target that is no path, chunked on 1.0, a transfer coding but chunked,
       chunk extensions without end, and whatever httptools calls no HTTP
  408  no complete head within HEAD_SECONDS, a body that stands still for BODY_SECONDS or crawls
  413  a body that nobody here takes (the router's own calls)
  414  a target over TARGET_LIMIT
  431  a head over HEAD_LIMIT bytes or FIELDS_LIMIT fields

A refusal never overtakes an answer that is still being written: then the connection ends behind that answer. What a client
still sends after a refusal is read and dropped for a moment, so that the refusal reaches it.
Only `tick`, called once a second by the server, looks at the time: no timers per request.
"""

from __future__ import annotations

import asyncio
import re
import time
from enum import IntEnum
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from router.answers import answer
from router.request_id import request_id
from router.wire.refusals import BadRequest, HeadTooLarge, TargetTooLong, TooSlow
from stoker.errors import BodyTooLarge, StokerError

HEAD_LIMIT = 65_536
FIELDS_LIMIT = 100
TARGET_LIMIT = 8_192
HEAD_SECONDS = 10.0
BODY_SECONDS = 30.0
BODY_RATE = 1_024
"""Bytes per second that a body has to come with, over BODY_SECONDS."""

KEEP_ALIVE_SECONDS = 75.0
LINGER_SECONDS = 3.0
OWN_BODY_LIMIT = 2**20
JOB_BODY_LIMIT = 33 * 2**20
"""Bytes of a request to the router itself."""

CHUNK_OVERHEAD = 272
"""Bytes of framing that one chunk may have, its extensions included."""

_HOST = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*)|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


class Phase(IntEnum):
    """What is awaited from the client; LINGER: only its end."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    ANSWER = 3
    LINGER = 4


class Guard(HttpToolsProtocol):
    """The protocol of every connection. `active` is the request that is being answered."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ):
        super().__init__(config, server_state, app_state, _loop)
        self.active: Any = None
        self._phase = Phase.HEAD
        self._since = time.monotonic()
        self._refusal: StokerError | None = None
        self._doomed = False
        self._began = False
        self._head_bytes = 0
        self._read_bytes = 0
        self._window_at = 0.0
        self._window_bytes = 0
        self._body_bytes = 0
        self._chunks = 0
        self._framing = 0
        self._full_since = 0.0

    # what comes in

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase is Phase.IDLE:
            self._phase, self._since = Phase.HEAD, time.monotonic()
            self._head_bytes = 0
        elif phase is Phase.LINGER or self._doomed:
            return
        self._read_bytes = len(data)
        self._window_bytes += self._read_bytes
        self._began = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgraded()
        except httptools.HttpParserError as error:
            if self._refusal is None:
                self._refusal = BadRequest(_what_is_wrong(error))
        if self._refusal is None:
            self._check_reading()
        if self._refusal is not None:
            self.refuse(self._refusal)

    def _check_reading(self) -> None:
        """What only shows over several reads: a head without end, chunks that are mostly framing."""
        if self._phase is Phase.HEAD and not self._began:
            self._head_bytes += self._read_bytes
            if self._head_bytes > HEAD_LIMIT:
                self._refusal = HeadTooLarge(f"the head of the request is larger than {HEAD_LIMIT} bytes")
        elif self._phase is Phase.BODY and self._framing:
            self._framing += self._read_bytes
            if self._framing - self._body_bytes > 2 * HEAD_LIMIT + self._chunks * CHUNK_OVERHEAD:
                self._refusal = BadRequest("the chunks of the body have too long extensions")

    def _upgraded(self) -> None:
        if self._refusal is None and self._should_upgrade():
            self.handle_websocket_upgrade()
        elif self._refusal is None:
            self._doomed = True  # served as if nothing had been asked for; httptools reads no further request here
            self.cycle.keep_alive = False

    # httptools' callbacks; they must not raise

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._began = True
        self._head_bytes = 0
        self._framing = self._chunks = self._body_bytes = 0
        if self._phase is not Phase.HEAD:
            self._phase, self._since = Phase.HEAD, time.monotonic()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase is Phase.HEAD:  # what comes behind a chunked body is never a field of the request
            self.headers.append((name.lower(), value))

    def on_chunk_header(self) -> None:
        self._chunks += 1
        self._framing = self._framing or 1

    def on_headers_complete(self) -> None:
        """Raises nothing: a refusal is noted, and what follows in the same read is not looked at."""
        if self._refusal is None:
            self._refusal = self._check_head()
        if self._refusal is None:
            self._phase, self._since = Phase.BODY, time.monotonic()
            self._window_at, self._window_bytes = self._since, 0
            self.head_complete()

    def head_complete(self) -> None:
        """The head is in order: hand it to the application, as uvicorn does."""
        url, headers = self.url, self.headers
        expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
        super().on_message_begin()
        self.url, self.headers, self.scope["headers"], self.expect_100_continue = url, headers, headers, expects
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._refusal is not None:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self.own_body_limit():
            self._refusal = BodyTooLarge(f"the body is larger than {self.own_body_limit()} bytes")
            return
        super().on_body(body)

    def own_body_limit(self) -> float:
        """Bytes for the request that is being read; subclasses let those for engines pass."""
        return JOB_BODY_LIMIT if self.url.startswith(b"/v1/jobs") else OWN_BODY_LIMIT

    def on_message_complete(self) -> None:
        if self._refusal is None:
            self._phase = Phase.ANSWER
            self.message_complete()
            if self.active is None and not self.pipeline and self._phase is Phase.ANSWER:
                self._await_next()  # it was answered before it was whole

    def message_complete(self) -> None:
        """The request is whole; subclasses know other cycles than uvicorn's."""
        super().on_message_complete()

    # the head

    def _check_head(self) -> StokerError | None:
        headers = self.headers
        if len(self.url) > TARGET_LIMIT:
            return TargetTooLong(f"the target is longer than {TARGET_LIMIT} bytes")
        if len(headers) > FIELDS_LIMIT:
            return HeadTooLarge(f"the head of the request has more than {FIELDS_LIMIT} fields")
        if self._read_bytes + self._head_bytes > HEAD_LIMIT and sum(len(name) + len(value) + 4 for name, value in headers) > HEAD_LIMIT:
            return HeadTooLarge(f"the head of the request is larger than {HEAD_LIMIT} bytes")
        wrong = self._check_fields(self.parser.get_http_version())
        return BadRequest(wrong) if wrong else None

    def _check_fields(self, version: str) -> str | None:
        hosts = codings = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
                if not _HOST.fullmatch(value):
                    return "the Host is not a host"
            elif name == b"transfer-encoding":
                codings += 1
                if value.lower() != b"chunked" or version != "1.1" or codings > 1:
                    return "only `Transfer-Encoding: chunked`, once, is understood, and not with HTTP/1.0"
        if version not in ("1.1", "1.0"):
            return "only HTTP/1.1 and 1.0 are spoken here"
        if hosts != 1 and (version == "1.1" or hosts):
            return "exactly one Host is needed"
        if self.url[:1] != b"/" or b"#" in self.url:
            return None if self.url == b"*" and self.parser.get_method() == b"OPTIONS" else "the target is not a path"
        return None

    # answering, one at a time

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.active = cycle
        self.begin(cycle, app)

    def begin(self, cycle: Any, app: Any) -> None:
        """Begin to answer; subclasses know other cycles than uvicorn's."""
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """An answer is whole: the next request of the pipeline, or the wait for one."""
        self.server_state.total_requests += 1
        self.active = None
        if self.transport.is_closing() or self._phase is Phase.LINGER:
            return
        if self.pipeline:
            self.loop.call_soon(self._next)
        elif self._doomed:
            self.transport.close()
        else:
            self._await_next()

    def _next(self) -> None:
        if self.active is None and self.pipeline and not self.transport.is_closing():
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            if not self.pipeline:
                self.flow.resume_reading()

    def _await_next(self) -> None:
        self.flow.resume_reading()
        if self._phase is not Phase.BODY:
            self._phase, self._since = Phase.IDLE if self._phase is Phase.ANSWER else self._phase, time.monotonic()

    def refuse(self, error: StokerError) -> None:
        """Say so and close; behind the answer that is being written, just close."""
        if self.transport.is_closing() or self._phase is Phase.LINGER:
            return
        if self.active is None and self.pipeline:
            self.transport.close()
            return
        if self.active is not None and not self.interrupt():
            self._doomed = True
            self.active.keep_alive = False
            self.pipeline.clear()
            return
        found = answer(error, request_id(()))
        head = [b"HTTP/1.1 %d %b\r\n" % (found.status, error.code.encode())]
        head += [name + b": " + value + b"\r\n" for name, value in (*self.server_state.default_headers, *found.headers)]
        self.transport.write(b"".join(head) + b"connection: close\r\n\r\n" + found.body)
        self.linger()

    def interrupt(self) -> bool:
        """Take the answer away from whoever would give it, if that is the request being refused and nothing was said to it."""
        cycle = self.active
        if cycle is not self.cycle or self._phase is not Phase.BODY or cycle.response_started:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return True

    def linger(self) -> None:
        """End our side; what the client still sends is dropped until it ends its own, or LINGER_SECONDS are over."""
        self._phase, self._since = Phase.LINGER, time.monotonic()
        self.active = None
        self.pipeline.clear()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    # time

    def tick(self, now: float) -> None:
        """What has taken too long by `now` (monotonic)."""
        if self.transport is None or self.transport.is_closing():
            return
        if self._full_since and now - self._full_since > 2 * BODY_SECONDS:
            self.transport.abort()
        elif self._phase is Phase.HEAD and now - self._since > HEAD_SECONDS and self.active is None:
            self.refuse(TooSlow(f"no complete head of a request within {HEAD_SECONDS:g} s"))
        elif self._phase is Phase.BODY and not self.flow.read_paused:
            self._check_rate(now)
        elif self._phase is Phase.IDLE and now - self._since > KEEP_ALIVE_SECONDS:
            self.transport.close()
        elif self._phase is Phase.LINGER and now - self._since > LINGER_SECONDS:
            self.transport.abort()

    def _check_rate(self, now: float) -> None:
        if now - self._window_at > BODY_SECONDS:
            if self._window_bytes < BODY_RATE * BODY_SECONDS:
                self.refuse(TooSlow(f"the body comes with less than {BODY_RATE} bytes a second"))
            self._window_at, self._window_bytes = now, 0

    def pause_writing(self) -> None:
        self._full_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._full_since = 0.0
        super().resume_writing()

    def shutdown(self) -> None:
        """The server ends: at once where nothing is under way, else behind the answer."""
        if self.active is None and self._phase is not Phase.BODY:
            self.transport.close()
        elif self.active is not None:
            self.active.keep_alive = False
            self._doomed = True


def _what_is_wrong(error: httptools.HttpParserError) -> str:
    if isinstance(error, httptools.HttpParserCallbackError):
        raise error
    return f"this is not HTTP/1.1: {error}"
