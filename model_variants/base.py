"""What a model-variant plug-in answers. All questions are pure: facts in, decisions out; nothing runs, nothing is read.

A variant is any object with these attributes and methods; there is nothing to inherit. Built-in ones are listed in
registry.py, third parties' come by the entry-point group `stoker.model_variants`.
"""

from __future__ import annotations

import signal
from typing import Protocol

import msgspec
from pydantic import BaseModel

from model_variants.facts import ModelFacts
from stoker.records import DeviceShare, Engine, Gpu, HealthCheck, Reason, Resolution
from stoker.specs import ServiceSpec


class Unsuitable(Exception):
    """The spec and the model do not go together; `reason` has a code of the contract and says what to change."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = Reason(code, message)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What the nodes that could run the service offer, together: runtimes, installed engines, every GPU."""

    runtimes: frozenset[str] = frozenset({"process"})
    engines: tuple[Engine, ...] = ()
    gpus: tuple[Gpu, ...] = ()


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One start: everything that was decided, and what the node adds in memory (port, paths, key, devices).

    `model_path` is the model as the engine sees it; `work_dir` a writable directory of the session's own;
    `engine_prefix` the environment of the installed engine (process runtime), None for built-in ones and images.
    """

    spec: ServiceSpec
    resolution: Resolution
    session: str
    host: str
    port: int
    model_path: str | None = None
    work_dir: str = "."
    engine_prefix: str | None = None
    gpus: tuple[DeviceShare, ...] = ()
    session_key: str | None = None


NO_FILES = "models"
"""The empty directory in a session's `work_dir` that BACKEND_MODEL_PATH names in a process whose model has no files."""


class FirstAnswer(msgspec.Struct, frozen=True):
    """A request that must get a 2xx before the session counts as READY: some engines are healthy and cannot answer."""

    path: str
    body: bytes


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """Names of Prometheus gauges at the metrics path: requests that are answered, that wait, and how full the cache is (0 to 1)."""

    running: str | None = None
    waiting: str | None = None
    cache: str | None = None


class LaunchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to start, probe and stop one session. `argv` never passes a shell. `env` holds only what the variant adds.
    In a container `argv` replaces entrypoint and command of the image; where `keep_entrypoint`, only its command (empty: not even that).

    `stop_signals` are sent in turn, each followed by `stop_grace` seconds at most, then SIGKILL to the process group.
    `loading_status` is what the health path answers while weights load (counts as alive, not as ready).
    """

    argv: tuple[str, ...]
    env: dict[str, str] = {}
    keep_entrypoint: bool = False
    cwd: str | None = None
    health: HealthCheck = HealthCheck()
    loading_status: int | None = None
    first_answer: FirstAnswer | None = None
    stop_signals: tuple[int, ...] = (signal.SIGTERM,)
    stop_grace: float = 30.0
    clean_exits: tuple[int, ...] = (0,)
    metrics_path: str | None = "/metrics"


class Variant(Protocol):
    """`name` is the word in YAML (`_` for `-`), `aliases` are accepted too; `title` is for people.

    `engine` is what must be installed on a node for the process runtime (None: nothing, Stoker brings it), `image` the
    default container image (None: none). `needs_gpu`: it does not run on a CPU. `options` is the schema of `options:` in YAML.
    Optional attributes: `install`, what to give to `pip install` for the engine; `other_engines`, further engines it can drive;
    `gauges` (Gauges), what its metrics call the load; `cannot`, sentences about what it does not do.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    engine: str | None
    image: str | None
    needs_gpu: bool
    options: type[BaseModel]

    def accepts(self, facts: ModelFacts) -> str | None:
        """None if this variant can serve such a model, else a sentence that says why not."""
        ...

    def resolve(self, spec: ServiceSpec, facts: ModelFacts, site: Site) -> Resolution:
        """Everything that `auto` and the defaults leave open. Raises Unsuitable."""
        ...

    def launch(self, launch: Launch) -> LaunchPlan:
        """The start command and how to probe and stop it."""
        ...
