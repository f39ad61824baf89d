"""A command in a terminal of its own: what it prints is read as it comes, and keys can be typed."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


class Terminal:
    """`seen` is everything printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process, self._fd, self.seen = process, fd, ""

    def until(self, text: str, seconds: float = 40) -> str:
        """Read until `text` was printed; all that was printed."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come within {seconds} s:\n{self.seen}"
            assert self._read(left), f"it ended without {text!r}:\n{self.seen}"
        return self.seen

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def ctrl_c(self) -> None:
        self.type("\x03")

    def end(self, seconds: float = 40) -> int:
        """The exit code, once it has ended by itself."""
        deadline = time.monotonic() + seconds
        while self._read(max(0.0, deadline - time.monotonic())):
            assert time.monotonic() < deadline, f"it did not end:\n{self.seen}"
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """False at the end of what is printed."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return True
        try:
            part = os.read(self._fd, 65536)
        except OSError:  # how Linux says that the other side has closed
            return False
        self.seen += part.decode(errors="replace")
        return bool(part)


@contextmanager
def terminal(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run `command` with stdin, stdout and stderr in a terminal of 200 columns; killed if it is still there at the end."""
    import fcntl
    import struct
    import termios

    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env={**os.environ, "TERM": "xterm", **environment}, preexec_fn=own_terminal
    )
    os.close(inner)
    try:
        yield Terminal(process, outer)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(outer)
