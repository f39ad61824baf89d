"""Runs the pre-start actions of a definition, then becomes its start command. `python -m model_variants.definition PLAN-IN-JSON`

A failing action ends the start with its output. What an action installs with pip goes into an environment of this
session's own, beside its log, never into Stoker's; the start command finds it first on its PATH.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import msgspec

from model_variants.definition.rendering import DEFINITION_EXIT, Plan

_ENVIRONMENT = "definition-env"
_PYTHONS = ("pip", "pip3", "python", "python3")
_SECONDS = 3600


class Failed(Exception):
    """An action did not work; the message says which and how."""


def main(words: list[str]) -> int:
    """Never returns where all goes well."""
    plan = msgspec.json.decode(words[0], type=Plan)
    environment = {**os.environ, "BACKEND_MODEL_PATH": plan.cwd}
    results: dict[str, str] = {}
    try:
        _own_environment(plan, environment)
        for number, action in enumerate(plan.actions, 1):
            result = _perform(action["action"], _filled(action["args"], results), environment)
            _say(f"pre-start action {number} of {len(plan.actions)}: {action['action']} done")
            if action.get("ref"):
                results[action["ref"]] = result
        argv = [*(_filled(word, results) for word in plan.argv), *words[1:]]
        os.chdir(plan.cwd)
        os.execvpe(argv[0], argv, environment)  # noqa: S606  this process becomes the engine
    except (Failed, OSError, KeyError, TypeError, ValueError, subprocess.TimeoutExpired) as error:
        _say(f"model-definition.yaml: {error}")
    return DEFINITION_EXIT


def _own_environment(plan: Plan, environment: dict[str, str]) -> None:
    """1. none is needed where no action calls Python's tools 2. else it sees what the machine has, and keeps what is added."""
    commands = [action["args"].get("command") or [""] for action in plan.actions if action["action"] == "run_command"]
    if not any(Path(str(command[0])).name in _PYTHONS for command in commands):  # (1)
        return
    folder = Path(_ENVIRONMENT).absolute()
    if not (folder / "bin" / "python").exists():  # (2)
        venv.create(folder, system_site_packages=True, with_pip=True)
    environment["VIRTUAL_ENV"] = str(folder)
    environment["PATH"] = os.pathsep.join((str(folder / "bin"), environment.get("PATH", os.defpath)))


def _perform(action: str, args: dict[str, Any], environment: dict[str, str]) -> str:
    match action:
        case "run_command":
            return _run([str(word) for word in args["command"]], environment)
        case "mkdir":
            Path(args["path"]).mkdir(parents=True, exist_ok=True)
            return str(args["path"])
        case "write_file":
            return _write(Path(args["filename"]), args)
        case "write_tempfile":
            handle, name = tempfile.mkstemp(suffix=".py")
            os.close(handle)
            return _write(Path(name), args)
        case "log":
            _say(str(args["message"]))
            return ""
        case _:
            raise Failed(f"there is no action {action}")


def _run(command: list[str], environment: dict[str, str]) -> str:
    """Its output goes to the session's log as well."""
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS, check=False)
    output = done.stdout.decode(errors="replace")
    sys.stderr.write(output)
    if done.returncode:
        raise Failed(f"the command {' '.join(command)!r} ended with {done.returncode}; its output is above")
    return output


def _write(path: Path, args: dict[str, Any]) -> str:
    with path.open("a" if args.get("append") else "w") as file:
        file.writelines(f"{line}\n" for line in args["body"])
    path.chmod(int(str(args.get("mode", "644")), 8))
    return str(path)


def _filled(value: Any, results: dict[str, str]) -> Any:
    """`{ref}` of an earlier action; all other braces stay."""
    if isinstance(value, str):
        for name, result in results.items():
            value = value.replace("{" + name + "}", result)
        return value
    if isinstance(value, list):
        return [_filled(one, results) for one in value]
    return {key: _filled(one, results) for key, one in value.items()} if isinstance(value, dict) else value


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
