"""Where one machine's platform keeps its things: the names below the data directory, and which directory that is.

Imports nothing heavy, so that the command line answers at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def default_data_dir() -> Path:
    """`/var/lib/stoker` for root, else `$XDG_DATA_HOME/stoker` or `~/.local/share/stoker`."""
    if os.geteuid() == 0:
        return Path("/var/lib/stoker")
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "stoker"


@dataclass(frozen=True)
class DataDir:
    """The files of `stoker up` in `path`, which is absolute."""

    path: Path

    @property
    def admin_token(self) -> Path:
        return self.path / "admin-token"

    @property
    def user_token(self) -> Path:
        return self.path / "user-token"

    @property
    def cluster_key(self) -> Path:
        return self.path / "cluster.key"

    @property
    def lock(self) -> Path:
        """Held by the running `up`, whose pid it contains."""
        return self.path / "up.lock"

    @property
    def up(self) -> Path:
        """What `up --json` prints, while it runs."""
        return self.path / "up.json"

    @property
    def drained(self) -> Path:
        """The nodes that `down` drained, which the next `up` opens again."""
        return self.path / "drained.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def nodes(self) -> Path:
        return self.path / "nodes"

    @property
    def options(self) -> Path:
        """What the last `up` was asked for: whoever takes its sessions over starts the same nodes."""
        return self.path / "run" / "options.json"

    def ready_file(self, process: str) -> Path:
        """Where a service says that it listens, and on which port."""
        return self.path / "run" / f"{process}.json"
