"""The environment of a session's engine: a few of the machine's own words, the variant's, the user's, and ours, which always win."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from model_variants.base import NO_FILES, Launch, LaunchPlan
from stoker.specs import SecretRef
from worker.runtimes.base import CannotStart

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "SSL_CERT_FILE")
"""What engines may need of the worker's own environment; everything else (tokens above all) stays out."""


def session_environment(
    launch: Launch, plan: LaunchPlan, devices: Mapping[str, str], *, machine: Mapping[str, str], home: str | None
) -> dict[str, str]:
    """All of it. `devices` shows the GPUs; `home` is the session user's. Raises CannotStart(secret_missing).

    Later ones win: 1 the machine's, 2 the variant's, 3 the user's, 4 ours: name, port, path, devices and the session's key.
    """
    inherited = {name: machine[name] for name in INHERITED if name in machine}
    if launch.engine_prefix:
        inherited["PATH"] = os.pathsep.join(filter(None, (f"{launch.engine_prefix}/bin", inherited.get("PATH"))))
    own = {
        "STOKER_SERVICE": launch.spec.name,
        "STOKER_SESSION": launch.session,
        "PORT": str(launch.port),
        "TMPDIR": os.path.join(launch.work_dir, "tmp"),
        "PYTHONUNBUFFERED": "1",
        "BACKEND_MODEL_PATH": launch.model_path or os.path.join(launch.work_dir, NO_FILES),
        **devices,
    }
    if launch.session_key:
        own |= {name: value for name, value in plan.env.items() if value == launch.session_key}
    names = launch.resolution.model_names or (launch.spec.name,)
    return {
        **inherited,
        **({"HOME": home} if home else {}),
        **_import_path(),
        "BACKEND_MODEL_NAME": names[0],
        **plan.env,
        **_given(launch),
        **own,
    }


def _given(launch: Launch) -> dict[str, str]:
    secrets = sorted(str(value.secret) for value in launch.spec.env.values() if isinstance(value, SecretRef))
    if secrets:
        raise CannotStart("secret_missing", f"the service needs the secret {', '.join(secrets)}, which this version cannot hand out yet")
    return {name: str(value) for name, value in launch.spec.env.items()}


def _import_path() -> dict[str, str]:
    """The built-in engine is a module of ours: say where it is, where it was not installed but runs from its sources."""
    import model_variants

    home = Path(next(iter(model_variants.__path__))).parent
    return {} if home.name == "site-packages" else {"PYTHONPATH": str(home)}
