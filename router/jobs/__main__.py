"""`python -m router.jobs`: one runner of jobs, settings from the environment."""

from __future__ import annotations

import sys

from router.jobs.main import main

if __name__ == "__main__":
    sys.exit(main())
