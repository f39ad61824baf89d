"""What `up` was asked for, passed from the command line to the process that does it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """`status_fd` is a pipe on which a detached `up` says how its start went; None in the foreground.

    `redis_url` None means the embedded store. `port` 0 picks a free one.
    """

    data_dir: str
    host: str = "127.0.0.1"
    port: int = 8080
    nodes: int = 1
    node_name: str = "node"
    mock_gpus: str | None = None
    redis_url: str | None = None
    port_range: str = "20000-29999"
    json: bool = False
    status_fd: int | None = None

    def to_text(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})

    @classmethod
    def from_text(cls, text: str) -> Options:
        return cls(**json.loads(text))
