"""What the worker tells a session's supervisor, through a pipe and nowhere else: it may hold keys. Standard library only."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as in typing, whose import would cost 1.5 MB in every session
if TYPE_CHECKING:
    from collections.abc import Iterable

_READ_SIZE = 64 * 1024
_END = b"end="


class EngineOrder:
    """Fields `key=value`; a key may come several times: argv, env (NAME=VALUE), signal, cgroup, oom (a file), group.
    Once: cwd, grace (seconds), log_limit (bytes), log_files, models (a folder to show at /models), uid, gid.
    """

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._fields = list(fields)

    def all(self, key: str) -> list[str]:
        return [value for name, value in self._fields if name == key]

    def one(self, key: str, default: str = "") -> str:
        return next(iter(self.all(key)), default)

    def encode(self) -> bytes:
        """Fields that end with NUL, the last of them `end=`. Raises ValueError for a NUL in a value."""
        words = [os.fsencode(f"{key}={value}") for key, value in self._fields]
        if any(b"\0" in word for word in words):
            raise ValueError("a NUL byte cannot be part of a command or of its environment")
        return b"\0".join([*words, _END, b""])

    @classmethod
    def read(cls, fd: int) -> EngineOrder | None:
        """None if it broke off: the worker died while it wrote, and nothing is to be started."""
        data = b""
        while part := os.read(fd, _READ_SIZE):
            data += part
        words = data.split(b"\0")
        if words[-2:] != [_END, b""]:
            return None
        pairs = (os.fsdecode(word).partition("=") for word in words[:-2])
        return cls((key, value) for key, _, value in pairs)
