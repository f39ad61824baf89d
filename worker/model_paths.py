"""From what a spec calls a model to where it lies on this node."""

from __future__ import annotations

from pathlib import Path

BUILTIN = "demo"
HUB = "hf:"
MODELS = "/models"
"""Where a session finds its model folder, where a private mount namespace can be had."""


def is_local(model: str) -> bool:
    """Whether its files are looked for on the nodes: neither built in nor fetched from a hub."""
    return model != BUILTIN and not model.startswith(HUB)


def model_path(model: str, store: Path) -> Path:
    """An absolute path as it is, a name of the model store below `store`."""
    return Path(model) if model.startswith("/") else store / model


def may_show_at_models(folder: str | None) -> bool:
    """Whether /models can be this folder for one session: it must hide nothing that is there."""
    if folder is None or not Path(folder).is_dir():
        return False
    here, place = Path(folder).resolve(), Path(MODELS)
    if here == place or place in here.parents:
        return False
    try:
        return not any(place.iterdir())
    except FileNotFoundError:
        return _made(place)
    except OSError:
        return False


def _made(place: Path) -> bool:
    try:
        place.mkdir(mode=0o755)
    except OSError:
        return False
    return True
