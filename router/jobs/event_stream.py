"""A stream of server-sent events taken apart: what a job's log keeps of it, and whether the router broke it off. Pure."""

from __future__ import annotations

import msgspec

_DONE = "[DONE]"
_OURS = frozenset({"stream_interrupted", "handed_back"})
HELD_LIMIT = 2**20
"""Bytes of one event; a longer one is not logged."""


class _Error(msgspec.Struct, frozen=True):
    code: str = ""


class _Broken(msgspec.Struct, frozen=True):
    error: _Error = _Error()


class EventReader:
    """`feed` gives the data of whole events, as they came; `broken` is the router's code once it has ended the stream itself."""

    def __init__(self) -> None:
        self._held = b""
        self.broken = ""

    def feed(self, data: bytes) -> list[str]:
        """Comments, and the sign of the end, are no events."""
        whole = (self._held + data).replace(b"\r\n", b"\n")
        *events, self._held = whole.split(b"\n\n")
        if len(self._held) > HELD_LIMIT:
            self._held = b""
        found = []
        for event in events:
            name, text = _parts(event.decode("utf-8", "replace"))
            if name == "error" and self._is_ours(text):
                continue
            if text is not None and text != _DONE:
                found.append(text)
        return found

    def _is_ours(self, text: str | None) -> bool:
        try:
            code = msgspec.json.decode(text or "{}", type=_Broken).error.code
        except msgspec.MsgspecError:
            return False
        if code in _OURS:
            self.broken = code
        return code in _OURS


def _parts(event: str) -> tuple[str, str | None]:
    """The event's name and its data; None without any."""
    name, data = "", []
    for line in event.split("\n"):
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data.append(value.removeprefix(" "))
    return name, "\n".join(data) if data else None
