"""The environment of a platform: ours, made independent of the directory in which the user typed.

`up` and its processes run in the data directory, so that they hold no other one and import nothing from where we stand.
"""

from __future__ import annotations

import os
from pathlib import Path

from stoker.cli.settings_file import configured, settings_file

PATHS = ("model_store", "secret_key_file")
"""Settings that may be relative to where the user typed."""

SECRETS = ("admin_token",)
"""Settings that `up` itself must know, whether they come from the environment or from stoker.toml."""


def settled() -> dict[str, str]:
    """Raises ConfigurationError where the settings file cannot be read."""
    found, file = dict(os.environ), settings_file()
    if file is not None:
        found["STOKER_CONFIG"] = str(file)
    for name in (*PATHS, *SECRETS):
        variable = f"STOKER_{name.upper()}"
        value = found.get(variable) or configured(name)
        if value:
            found[variable] = str(Path(str(value)).expanduser().absolute()) if name in PATHS else str(value)
    return found
