"""`python -m stoker.cli.up OPTIONS`: started by the command line, with everything heavy left behind there."""

from __future__ import annotations

import asyncio
import sys

from stoker.cli.up.main import main
from stoker.cli.up.options import Options

if __name__ == "__main__":
    sys.exit(asyncio.run(main(Options.from_text(sys.argv[1]))))
