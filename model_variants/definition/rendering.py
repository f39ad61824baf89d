"""From a definition to what is run: fields filled in, and /models replaced by the folder's real path in a process."""

from __future__ import annotations

import re
import shlex
from typing import Any

import msgspec

from model_variants.definition.schema import Model, Service

DEFINITION_EXIT = 78
"""The exit code of a start whose actions failed; the last line it writes then begins with `model-definition.yaml: `."""

_FIELD = re.compile(r"\{(port|host|model_path|model_name)\}")
_MODELS = re.compile(r"(?<![\w./-])/models(?=$|[/\s\"':;,=&|])")


class Plan(msgspec.Struct, frozen=True):
    """What the runner does: `actions` in order, then `argv` in `cwd` with BACKEND_MODEL_PATH set to it."""

    actions: tuple[dict[str, Any], ...]
    argv: tuple[str, ...]
    cwd: str


def render(model: Model, *, port: int, host: str, folder: str | None) -> Plan:
    """`folder` is what /models stands for, None where it is really there (a container)."""
    assert model.service is not None
    path = _moved(model.model_path, folder)
    values = {"port": str(port), "host": host, "model_path": path, "model_name": model.name}

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return _moved(_FIELD.sub(lambda match: values[match[1]], value), folder)
        if isinstance(value, list | tuple):
            return [fill(one) for one in value]
        if isinstance(value, dict):
            return {key: fill(one) for key, one in value.items()}
        return value

    actions = tuple({"action": it.action, "args": fill(it.args), "ref": it.ref} for it in model.service.pre_start_actions)
    return Plan(actions, tuple(fill(words(model.service))), path)


def words(service: Service) -> tuple[str, ...]:
    """The start command as argv; () is the image's own. Text that asks for a shell gets the one it names."""
    given = service.command if service.command is not None else service.start_command
    if given is None:
        return ()
    if isinstance(given, str):
        return (service.shell, "-c", given) if service.shell else tuple(shlex.split(given))
    return given


def wants_port(service: Service) -> bool:
    """Whether the command can be told its port; otherwise it listens where the definition says."""
    return any("{port}" in word for word in words(service))


def as_script(plan: Plan) -> str:
    """For containers, where nothing but a shell can be relied on: each word quoted, the first failure ends it with DEFINITION_EXIT."""
    actions = [_script_line(action["action"], action["args"]) for action in plan.actions]
    folder = shlex.quote(plan.cwd)
    caught = f"trap 'echo \"model-definition.yaml: a pre-start action ended with $?: see above\" >&2; exit {DEFINITION_EXIT}' EXIT"
    guarded = [caught, *actions, f"cd {folder}", "trap - EXIT"] if actions else [f"cd {folder}"]
    return "\n".join(["set -e", *guarded, f"export BACKEND_MODEL_PATH={folder}", f"exec {shlex.join(plan.argv)}"])


def _script_line(action: str, args: dict[str, Any]) -> str:
    match action:
        case "run_command":
            return shlex.join(str(word) for word in args.get("command", ()))
        case "mkdir":
            return shlex.join(["mkdir", "-p", str(args.get("path", "."))])
        case "log":
            return shlex.join(["echo", str(args.get("message", ""))])
        case _:
            return _writing(args)


def _writing(args: dict[str, Any]) -> str:
    lines = shlex.join(["printf", "%s\\n", *(str(line) for line in args.get("body", ()))])
    name = shlex.quote(str(args.get("filename") or "/tmp/stoker-definition.py"))  # noqa: S108  the container's own /tmp
    mode = shlex.quote(str(args.get("mode", "644")))
    return f"{lines} {'>>' if args.get('append') else '>'} {name} && chmod {mode} {name}"


def _moved(text: str, folder: str | None) -> str:
    return text if folder is None else _MODELS.sub(lambda _: folder, text)
