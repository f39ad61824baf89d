"""`python -m worker`: one worker, with settings from the environment."""

from __future__ import annotations

import sys

from worker.main import main

if __name__ == "__main__":
    sys.exit(main())
