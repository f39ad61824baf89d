"""Single settings out of stoker.toml, without the whole of Settings, whose import takes longer than most commands."""

from __future__ import annotations

from typing import Any

from stoker.settings_file import read_settings, settings_file

__all__ = ["configured", "settings_file"]


def configured(name: str) -> Any:
    """One setting of the file, None where it is not there. Raises ConfigurationError."""
    return read_settings().get(name)
