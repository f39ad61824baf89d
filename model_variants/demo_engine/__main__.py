"""`python -m model_variants.demo_engine --help`."""

from __future__ import annotations

import sys

from model_variants.demo_engine.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
