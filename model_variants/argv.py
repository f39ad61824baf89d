"""The last step to a start command: the spec's own command or the variant's, then the spec's args. Never a shell."""

from __future__ import annotations

import re

from model_variants.base import Launch
from model_variants.drafting import served_name

_FIELD = re.compile(r"\{(port|host|model_path|model_name)\}")


def start_command(launch: Launch, engine: tuple[str, ...]) -> tuple[str, ...]:
    """`engine` is the variant's own argv; `command:` replaces it, `args:` are appended. Other braces stay as they are."""
    return (*(fill(launch.spec.command, launch) if launch.spec.command else engine), *launch.spec.args)


def fill(words: tuple[str, ...], launch: Launch) -> tuple[str, ...]:
    """Each word stays one word: {port} {host} {model_path} {model_name} are replaced inside it."""
    values = {"port": str(launch.port), "host": launch.host, "model_path": launch.model_path or "", "model_name": served_name(launch)}
    return tuple(_FIELD.sub(lambda match: values[match[1]], word) for word in words)


def program(launch: Launch, name: str) -> str:
    """The engine's executable: in its environment's bin, or by name where the image has it on its PATH."""
    return f"{launch.engine_prefix}/bin/{name}" if launch.engine_prefix else name


def flags(**values: object) -> tuple[str, ...]:
    """`--max-model-len 8192` for max_model_len=8192; True is the bare flag, None and False are left out, a tuple gives all its
    values. A value that begins with - stays behind an = so that it cannot be read as a flag.
    """
    words: list[str] = []
    for name, value in values.items():
        if value is None or value is False:
            continue
        words.append("--" + name.replace("_", "-"))
        if isinstance(value, tuple | list):
            words += [str(one) for one in value]
        elif value is not True:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            words[-1:] = [f"{words[-1]}={text}"] if text.startswith("-") else [words[-1], text]
    return tuple(words)
