"""`stoker up`."""

from __future__ import annotations

import json
import os
import re
import socket
from typing import Annotated, Any

import typer

import stoker
from stoker.cli.flags import DataDirectory, Debug
from stoker.cli.reach import Reach
from stoker.cli.settings_file import configured
from stoker.cli.tables import write
from stoker.cli.tree import single
from stoker.cli.up import launch
from stoker.cli.up.children import FEWEST_PORTS
from stoker.cli.up.options import Options
from stoker.errors import ConfigurationError, InvalidRequest

MOST_NODES = 64
_MOCK = re.compile(r"\d{1,3}x[A-Za-z0-9._]+(-[A-Za-z0-9._]+)*-\d+(\.\d+)?[KMGT]i?B")
_PORTS = re.compile(r"\d{4,5}-\d{4,5}")


def commands(name: str) -> typer.Typer:
    return single(name, up)


def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="8080 by default; 0 picks a free one.")] = None,
    nodes: Annotated[int, typer.Option(help="Workers, each a node of its own.")] = 1,
    mock_gpus: Annotated[
        str | None, typer.Option(metavar="COUNTxMODEL-MEMORY[,…]", help="GPUs for planning and tests, on every node.")
    ] = None,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Return once it is ready.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print url, data_dir, admin_token_file, user_token_file and pid.")] = False,
    data_dir: DataDirectory = None,
    debug: Debug = False,
) -> None:
    """Run the whole platform on this machine, with an embedded store."""
    made = options(Reach(data_dir=data_dir), host=host, port=port, nodes=nodes, mock_gpus=mock_gpus, json=as_json)
    if not detach:
        launch.foreground(made)
    found = launch.detached(made)
    if as_json:
        write(json.dumps(found))
    else:
        write(f"Stoker {stoker.__version__} runs at {found['url']} (data in {found['data_dir']}, pid {found['pid']})")
        write("Next: stoker serve demo; stoker status; stoker down stops it")


def options(
    reach: Reach, *, host: str | None = None, port: int | None = None, nodes: int = 1, mock_gpus: str | None = None, json: bool = False
) -> Options:
    """Flag over environment over stoker.toml over default. Raises InvalidRequest, ConfigurationError."""
    if not 1 <= nodes <= MOST_NODES:
        raise InvalidRequest(f"--nodes is between 1 and {MOST_NODES}")
    mock = mock_gpus if mock_gpus is not None else _setting("mock_gpus")
    if mock and not all(_MOCK.fullmatch(part) for part in mock.split(",")):
        raise InvalidRequest(f"--mock-gpus takes COUNTxMODEL-MEMORY such as 8xH100-80GB, several separated by commas, not {mock!r}")
    redis = _setting("redis_url")
    made = Options(
        data_dir=str(reach.data.path),
        host=host or _setting("host") or "127.0.0.1",
        port=_port(next(value for value in (port, _setting("port"), 8080) if value is not None)),
        nodes=nodes,
        node_name=_setting("node_name") or host_name(),
        mock_gpus=mock or None,
        redis_url=redis or None,
        port_range=_ports(_setting("port_range") or "20000-29999", nodes),
        json=json,
    )
    _check_settings(made)
    return made


def _check_settings(made: Options) -> None:
    """What the processes would refuse is said before any of them starts. Raises ConfigurationError."""
    from stoker.settings import load

    load(data_dir=made.data_dir, host=made.host, port=made.port, mock_gpus=made.mock_gpus, port_range=made.port_range)


def host_name() -> str:
    """This machine's name as a node's: a DNS label."""
    name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().split(".")[0].lower()).strip("-")
    return name[:50].strip("-") or "node"


def _setting(name: str) -> Any:
    return os.environ.get(f"STOKER_{name.upper()}") or configured(name)


def _port(value: Any) -> int:
    try:
        port = int(value)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise InvalidRequest(f"a port is a number between 0 and 65535, not {value!r}; 0 picks a free one")
    return port


def _ports(value: str, nodes: int) -> str:
    first, _, last = value.partition("-")
    if not _PORTS.fullmatch(value) or int(last) > 65535 or int(last) - int(first) + 1 < FEWEST_PORTS * nodes:
        raise ConfigurationError(f"STOKER_PORT_RANGE must be FIRST-LAST with {FEWEST_PORTS} ports per node at least, not {value!r}")
    return value
