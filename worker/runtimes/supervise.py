"""Run by path, as `python -I -S supervise.py FOLDER LOCK_FD`: a supervisor that has loaded nothing but what it needs."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from worker.runtimes.supervisor import main

    sys.exit(main(sys.argv[1], int(sys.argv[2])))
