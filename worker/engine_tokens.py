"""What an engine says about the tokens it has read and written: read off its own metrics page, whole and without a parser.

Engines count every token, of streams and of plain answers; a router would have to read every answer for the same.
"""

from __future__ import annotations

import asyncio

from stoker.metrics.catalogue import field

PAGE_LIMIT = 4 * 2**20
SECONDS = 3.0

_PROMPT, _COMPLETION = field("llm_tokens_total", "prompt"), field("llm_tokens_total", "completion")
_NAMES = {
    b"vllm:prompt_tokens_total": _PROMPT,
    b"vllm:generation_tokens_total": _COMPLETION,
    b"sglang:prompt_tokens_total": _PROMPT,
    b"sglang:generation_tokens_total": _COMPLETION,
    b"llamacpp:prompt_tokens_total": _PROMPT,
    b"llamacpp:tokens_predicted_total": _COMPLETION,
    b"tgi_request_input_length_sum": _PROMPT,
    b"tgi_request_generated_tokens_sum": _COMPLETION,
}


def tokens(page: bytes) -> dict[str, int]:
    """Counts by the field of the figures; empty where the page tells nothing of tokens. All series of a name are added."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        name = line[: min(end for end in (line.find(b"{"), line.find(b" "), len(line)) if end >= 0)]
        if (kind := _NAMES.get(name)) is not None:
            try:
                found[kind] = found.get(kind, 0.0) + float(line.rpartition(b" ")[2])
            except ValueError:
                continue
    return {kind: int(count) for kind, count in found.items() if 0 <= count < 2**53}


async def ask(host: str, port: int, path: str, key: str) -> dict[str, int]:
    """`tokens` of the engine's page; empty where it answers otherwise, or with more than PAGE_LIMIT bytes. Raises OSError, TimeoutError."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            # HTTP/1.0: the body comes in one piece, without chunks
            writer.write(
                f"GET {path} HTTP/1.0\r\nhost: {host}:{port}\r\nauthorization: Bearer {key}\r\naccept: text/plain\r\n\r\n".encode()
            )
            page = await _whole(reader)
        finally:
            writer.close()
    head, _, body = page.partition(b"\r\n\r\n")
    return tokens(body) if head.split(None, 2)[1:2] == [b"200"] else {}


async def _whole(reader: asyncio.StreamReader) -> bytes:
    page = bytearray()
    while part := await reader.read(2**16):
        page += part
        if len(page) > PAGE_LIMIT:
            return b""
    return bytes(page)
