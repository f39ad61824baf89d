"""The file of settings, stoker.toml: where it is and what it says. Small, since every command of the command line asks it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stoker.errors import ConfigurationError


def settings_file() -> Path | None:
    """The absolute path of STOKER_CONFIG, else of stoker.toml where we stand, None where there is none. Raises ConfigurationError."""
    named = os.environ.get("STOKER_CONFIG")
    path = Path(named or "stoker.toml").absolute()
    if path.is_file():
        return path
    if named:
        raise ConfigurationError(f"there is no settings file {path}; see --config and STOKER_CONFIG")
    return None


def read_settings() -> dict[str, Any]:
    """What the file says, {} without one. Raises ConfigurationError with the file, and the line where its form is wrong."""
    path = settings_file()
    if path is None:
        return {}
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the settings file {path} cannot be read: {error}") from error
