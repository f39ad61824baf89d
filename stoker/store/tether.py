"""Run a command that is killed by the kernel when its parent ends: `python -I -S tether.py PARENT_PID COMMAND...`.

Standard library only, and run by path, so that it starts within milliseconds. Linux has PR_SET_PDEATHSIG; elsewhere the
command simply runs, and whoever comes next ends what was left behind.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Never returns: becomes the command, with SIGTERM as what it gets when the parent's thread ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel knew
            raise SystemExit(1)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
