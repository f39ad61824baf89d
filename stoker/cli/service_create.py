"""`stoker service create IMAGE|- MODEL REPLICAS`: a service from a few words, as other platforms' users type it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stoker.cli.flags import talks
from stoker.cli.model_word import resolve_model, service_name
from stoker.cli.pairs import parse_env, parse_pairs
from stoker.cli.reach import Reach
from stoker.cli.replicas import parse_replicas
from stoker.cli.tables import write
from stoker.errors import Conflict, InvalidRequest, VersionConflict

RESOURCES = ("cpu", "memory", "gpu", "gpu_memory", "shm")


@talks
def create(
    reach: Reach,
    image: Annotated[str, typer.Argument(metavar="IMAGE|-", help="Container image; - lets Stoker choose.")],
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    replicas: Annotated[str, typer.Argument(metavar="REPLICAS")],
    name: Annotated[str | None, typer.Option("-t", "--name", metavar="N")] = None,
    env: Annotated[list[str] | None, typer.Option("-e", "--env", metavar="K=V")] = None,
    resources: Annotated[list[str] | None, typer.Option("-r", "--resource", metavar="cpu=4|memory=16GiB|gpu=1")] = None,
    variant: Annotated[str | None, typer.Option("--runtime-variant", metavar="V")] = None,
    public: Annotated[bool, typer.Option("--public", help="No token is asked for.")] = False,
    group: Annotated[str | None, typer.Option("--resource-group", metavar="G")] = None,
) -> None:
    """Make a service and return at once; `stoker service info` shows how it comes up."""
    given: dict[str, Any] = {
        "image": None if image == "-" else image,
        "variant": variant,
        "env": parse_env(env or (), "-e"),
        "resources": parse_resources(resources or ()),
        "open_to_public": public or None,
        "resource_group": group,
    }
    named = name or service_name(model)
    spec = {"name": named, "model": resolve_model(model, here=reach.is_local), "replicas": parse_replicas(replicas)}
    spec |= {field: value for field, value in given.items() if value not in (None, {})}
    try:
        made = reach.client().put_service(named, spec, if_match=0)
    except VersionConflict as error:
        raise Conflict(
            f"the service {named} exists already; change it with `stoker apply -f FILE` or `stoker service scale {named} {replicas}`,"
            " or choose another name with --name"
        ) from error
    for note in made.get("notes") or ():
        typer.echo(f"stoker: note: {note}", err=True)
    write(f"service/{made['name']} created ({made['status']}); endpoint {made['endpoint']}")


def parse_resources(words: list[str] | tuple[()]) -> dict[str, object]:
    """`cpu=4` and the like; several in one word may be separated by commas."""
    parts = [part for word in words for part in word.split(",") if part]
    pairs = parse_pairs(parts, "-r")
    unknown = sorted(pairs.keys() - set(RESOURCES))
    if unknown:
        raise InvalidRequest(f"-r {unknown[0]}: there are {', '.join(RESOURCES)}")
    return {name: _amount(name, value) for name, value in pairs.items()}


def _amount(name: str, value: str) -> object:
    if name in ("cpu", "gpu"):
        try:
            return float(value) if "." in value else int(value)
        except ValueError:
            raise InvalidRequest(f"-r {name}={value}: {name} is a number") from None
    return value
