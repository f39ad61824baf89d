"""`stoker serve MODEL`: the main job in one command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from stoker.cli import failure, serve_spec
from stoker.cli.flags import talks
from stoker.cli.greeting import greeting
from stoker.cli.reach import Reach
from stoker.cli.tables import write
from stoker.cli.times import seconds_of
from stoker.cli.tree import single
from stoker.errors import InvalidRequest

Words = list[str] | None


def commands(name: str) -> typer.Typer:
    return single(name, serve)


@talks
def serve(
    reach: Reach,
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="demo, a folder, a .gguf file, hf:ORG/NAME or a stored name.")
    ] = None,
    engine_args: Annotated[Words, typer.Argument(metavar="[-- ENGINE ARGS...]", help="Appended to the start command.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="N", help="Of the service; by default from MODEL.")] = None,
    variant: Annotated[str | None, typer.Option(metavar="V", help="Which engine; `stoker variant ls`. By default auto.")] = None,
    option: Annotated[Words, typer.Option("--option", metavar="K=V", help="An option of the variant.")] = None,
    gpu: Annotated[str | None, typer.Option(metavar="X", help="GPUs: a whole number or a share such as 0.25.")] = None,
    gpu_memory: Annotated[str | None, typer.Option(metavar="S", help="Memory per GPU, such as 16GiB.")] = None,
    replicas: Annotated[str | None, typer.Option(metavar="N|MIN..MAX", help="0..2 sleeps when nobody asks.")] = None,
    model_name: Annotated[Words, typer.Option("--model-name", metavar="M", help="What clients send as `model`.")] = None,
    image: Annotated[str | None, typer.Option(metavar="I", help="Container image.")] = None,
    engine: Annotated[str | None, typer.Option(metavar="E", help="Engine, such as vllm==0.33.0.")] = None,
    env: Annotated[Words, typer.Option("--env", metavar="K=V|K=secret:NAME")] = None,
    mount: Annotated[Words, typer.Option("--mount", metavar="SRC:DST[:rw]")] = None,
    public: Annotated[bool, typer.Option("--public", help="No token is asked for.")] = False,
    install: Annotated[bool, typer.Option("--install", help="Install a missing engine.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be started and where; change nothing.")] = False,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Return once it is ready.")] = False,
    timeout: Annotated[str, typer.Option(metavar="S", help="How long to wait for it.")] = "1800",
) -> None:
    """Serve a model: starts the platform if none runs, and shows the start, the endpoint and the log."""
    if model is None or (engine_args and _separator(context) is None):
        raise InvalidRequest(_usage(model, engine_args))
    if install:
        raise InvalidRequest("this version of Stoker cannot install engines yet; leave --install out and see `stoker engine ls`")
    seconds = seconds_of(timeout, "--timeout")
    flags = serve_spec.Flags(
        model=model, args=engine_args, name=name, variant=variant, options=option, gpu=gpu, gpu_memory=gpu_memory, replicas=replicas,
        model_names=model_name, image=image, engine=engine, env=env, mounts=mount, public=public,
    )  # fmt: skip
    spec = serve_spec.make(flags, here=reach.is_local)
    if dry_run:
        serve_dry(reach, spec)
        return
    serve_now(reach, spec, seconds, follow=not detach and sys.stdout.isatty())


def serve_now(reach: Reach, spec: dict[str, object], seconds: float, *, follow: bool) -> None:
    from stoker.cli.platform_start import ensure_platform
    from stoker.cli.start_show import last_lines, wait_for

    name = str(spec["name"])
    ensure_platform(reach, seconds)
    client = reach.client()
    for note in client.put_service(name, spec).get("notes") or ():
        failure.say(f"note: {note}")
    try:
        look = wait_for(client, name, seconds)
        if not look.done:
            lines = last_lines(client, name)
            failure.say(f"{name} is not being served; {look.detail}; `stoker service explain {name}` says more")
            for line in lines:
                print(line, file=sys.stderr)  # noqa: T201
            raise failure.Quit(failure.FAILED)
        write(greeting(reach, client.service(name)))
        sys.stdout.flush()
        if follow:
            _follow(reach, name)
    except KeyboardInterrupt:
        write(f"\n{name} goes on without this log; `stoker service logs {name} -f` shows it again, `stoker service rm {name}` ends it")
        raise failure.Quit(failure.INTERRUPTED) from None


def serve_dry(reach: Reach, spec: dict[str, object]) -> None:
    from stoker.cli.service_views import show_explained

    answer = reach.client().dry_run(str(spec["name"]), spec)
    show_explained(answer)
    if not answer.get("fits"):
        raise failure.Quit(failure.FAILED)


def _follow(reach: Reach, name: str) -> None:
    from stoker.cli.log_lines import show_logs

    write("The log follows; Ctrl-C ends it, not the service.")
    sys.stdout.flush()
    show_logs(reach.client().logs(name, tail=10, follow=True))


def _separator(context: typer.Context) -> int | None:
    """Where `--` stands in what was typed."""
    words: list[str] = context.find_root().obj or []
    return words.index("--") if "--" in words else None


def _usage(model: str | None, extra: Words) -> str:
    if model is None:
        return "MODEL is missing: type `stoker serve demo`, or a model's folder; to start the platform alone, type `stoker up`"
    return f"{' '.join(extra or ())!r} is too much behind MODEL; words for the engine come behind --"
