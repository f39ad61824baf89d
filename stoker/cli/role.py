"""`stoker router | scheduler | worker | runner`: one process of the platform, for several machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from stoker.cli.flags import Debug
from stoker.cli.tree import single
from stoker.errors import InvalidRequest

Redis = Annotated[str | None, typer.Option("--redis-url", metavar="URL", help="The store; else STOKER_REDIS_URL.")]
Cluster = Annotated[str | None, typer.Option("--cluster", metavar="ID")]
DataDirectory = Annotated[str | None, typer.Option("--data-dir", metavar="DIR")]
HealthBind = Annotated[str | None, typer.Option("--health-bind", metavar="HOST:PORT", help="Where /healthz and /metrics answer.")]
LogFormat = Annotated[str | None, typer.Option("--log-format", metavar="text|json")]
Text = str | None


def commands(name: str) -> typer.Typer:
    roles: dict[str, Callable[..., None]] = {"router": router, "scheduler": scheduler, "worker": worker, "runner": runner}
    return single(name, roles[name])


def router(
    host: Annotated[Text, typer.Option(metavar="ADDRESS")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 picks a free one.")] = None,
    processes: Annotated[int | None, typer.Option("--processes", metavar="N", min=1, max=64, help="They share the port.")] = None,
    public_url: Annotated[Text, typer.Option("--public-url", metavar="URL")] = None,
    redis_url: Redis = None,
    cluster: Cluster = None,
    data_dir: DataDirectory = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Run a router: the HTTP of clients, and the admin calls."""
    become(
        "router",
        {
            "host": host, "port": port, "processes": processes, "public_url": public_url, "redis_url": redis_url, "cluster": cluster,
            "data_dir": data_dir, "log_format": log_format,
        },
    )  # fmt: skip


def scheduler(
    redis_url: Redis = None,
    cluster: Cluster = None,
    data_dir: DataDirectory = None,
    health_bind: HealthBind = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Run a scheduler; of several, one leads."""
    become(
        "scheduler",
        {"redis_url": redis_url, "cluster": cluster, "data_dir": data_dir, "health_bind": health_bind, "log_format": log_format},
    )


def worker(
    name: Annotated[Text, typer.Option("--name", metavar="NODE", help="Of this node; by default the host's.")] = None,
    address: Annotated[Text, typer.Option("--address", metavar="ADDRESS", help="Where routers reach this node.")] = None,
    group: Annotated[Text, typer.Option("--resource-group", metavar="G")] = None,
    mock_gpus: Annotated[Text, typer.Option("--mock-gpus", metavar="COUNTxMODEL-MEMORY[,…]")] = None,
    join: Annotated[Text, typer.Option("--join", metavar="TOKEN", hidden=True)] = None,
    redis_url: Redis = None,
    cluster: Cluster = None,
    data_dir: DataDirectory = None,
    health_bind: HealthBind = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Run a worker: this machine becomes a node."""
    if join is not None:
        raise InvalidRequest("this version has no join tokens yet; give the worker STOKER_REDIS_URL and STOKER_SECRET_KEY_FILE instead")
    become(
        "worker",
        {
            "node_name": name, "node_address": address, "resource_group": group, "mock_gpus": mock_gpus, "redis_url": redis_url,
            "cluster": cluster, "data_dir": data_dir, "health_bind": health_bind, "log_format": log_format,
        },
    )  # fmt: skip


def runner(
    redis_url: Redis = None,
    cluster: Cluster = None,
    data_dir: DataDirectory = None,
    health_bind: HealthBind = None,
    log_format: LogFormat = None,
    debug: Debug = False,
) -> None:
    """Run a runner: it takes jobs while sessions have slots, and sends their webhooks. Any number of them share the work."""
    become(
        "router.jobs",
        {"redis_url": redis_url, "cluster": cluster, "data_dir": data_dir, "health_bind": health_bind, "log_format": log_format},
    )


def become(role: str, flags: dict[str, str | int | None]) -> None:
    """Turn this process into the service; flags win over the environment, which is how it gets them."""
    given = {f"STOKER_{name.upper()}": str(value) for name, value in flags.items() if value is not None}
    environment = {**os.environ, **given}
    os.execve(sys.executable, [sys.executable, "-P", "-m", role], environment)  # noqa: S606
