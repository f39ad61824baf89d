"""Which processes make a platform, and with which environment each is started."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from stoker.cli.up.options import Options
from stoker.data_dir import DataDir

FEWEST_PORTS = 50
"""Per node; a start keeps its port for ten minutes after its end."""


@dataclass(frozen=True)
class ChildSpec:
    """`name` is that of its log, `role` the package that is run, `env` what differs from our own environment."""

    name: str
    role: str
    env: dict[str, str] = field(default_factory=dict)

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-m", self.role]


def plan(options: Options, data: DataDir, left: Iterable[str] = ()) -> list[ChildSpec]:
    """The router, the scheduler, the runner of jobs and the workers, in the order of their start.

    `left` are nodes on which sessions of an earlier `up` live: they get their worker too, also where fewer are asked for.
    """
    shared = {"STOKER_DATA_DIR": str(data.path), "STOKER_HOST": options.host, "STOKER_LOCAL_ADMIN": "true"}
    if options.redis_url is not None:
        shared["STOKER_REDIS_URL"] = options.redis_url
    quiet = {"STOKER_HEALTH_BIND": ""}  # one address serves one process: with `up` it is the scheduler's
    asked = node_names(options.node_name, options.nodes)
    names = [*asked, *sorted(set(left) - set(asked))]
    workers = [
        ChildSpec(
            "worker" if number == 0 else f"worker-{number + 1}",
            "worker",
            {
                **shared,
                "STOKER_NODE_NAME": name,
                "STOKER_PORT_RANGE": ports,
                **quiet,
                **({"STOKER_MOCK_GPUS": options.mock_gpus} if options.mock_gpus else {}),
            },
        )
        for number, (name, ports) in enumerate(zip(names, split_ports(options.port_range, len(names)), strict=True))
    ]
    return [
        ChildSpec("router", "router", {**shared, "STOKER_PORT": str(options.port)}),
        ChildSpec("scheduler", "scheduler", shared),
        ChildSpec("runner", "router.jobs", {**shared, **quiet}),
        *workers,
    ]


def node_names(first: str, count: int) -> list[str]:
    """HOST, HOST-2, HOST-3, …"""
    return [first if number == 1 else f"{first}-{number}" for number in range(1, count + 1)]


def split_ports(ports: str, parts: int) -> list[str]:
    """Each node its own slice of `FIRST-LAST`, as each keeps its own journal of the ports that it gave away."""
    first, last = (int(end) for end in ports.split("-"))
    width = (last - first + 1) // parts
    return [f"{first + number * width}-{first + (number + 1) * width - 1}" for number in range(parts)]
