"""Plug-ins that tests load by entry point: one right, the others each wrong in one way."""

from __future__ import annotations

from typing import Any

from model_variants.demo import Demo


class Mine(Demo):
    name = "mine"
    title = "A third party's"


class Duplicate(Demo):
    name = "other"
    aliases = ("cmd",)


class Nameless(Demo):
    name = "Not A Name"


class Optionless(Demo):
    name = "optionless"
    options: Any = dict


class Mute(Demo):
    name = "mute"
    launch: Any = None


class Broken(Demo):
    def __init__(self) -> None:
        raise RuntimeError("broken on purpose")
