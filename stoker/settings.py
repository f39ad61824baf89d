"""Settings: flag over environment STOKER_* over stoker.toml over default. Read once in each `main`, then passed on."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from stoker.errors import ConfigurationError
from stoker.settings_file import read_settings, settings_file
from stoker.store.address import embedded_url

_SECRET = frozenset({"admin_token", "join_token", "redis_url"})


def default_data_dir() -> Path:
    """`/var/lib/stoker` for root, else `$XDG_DATA_HOME/stoker` or `~/.local/share/stoker`."""
    if os.geteuid() == 0:
        return Path("/var/lib/stoker")
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "stoker"


def listed(value: object) -> object:
    """A list as an environment variable gives it: `a,b,c`, or JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def paired(value: object) -> object:
    """A mapping as an environment variable gives it: `a=b,c=d`, or JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return json.loads(value)
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return {name.strip(): text.strip() for name, _, text in pairs}


Listed, Paired = BeforeValidator(listed), BeforeValidator(paired)


class Settings(BaseSettings):
    """One field per setting of the public contract, named without the STOKER_ prefix, plus this machine's limits.

    Durations are seconds. The `*_seconds` and `*_limit` fields bound what would otherwise grow or wait without end.
    """

    model_config = SettingsConfigDict(env_prefix="STOKER_", extra="ignore", frozen=True)

    redis_url: str | None = Field(None, description="unset: the embedded store of the data directory")
    data_dir: Path = Field(default_factory=default_data_dir)
    cluster: str = Field("main", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    admin_token: SecretStr | None = None
    model_store: Path | None = Field(None, description="directory of model folders; default DATA_DIR/models")
    allowed_roots: Annotated[tuple[Path, ...], NoDecode, Listed] = ()
    deployer_may: Annotated[tuple[str, ...], NoDecode, Listed] = ()
    domain: str | None = None
    public_url: str | None = None
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, Listed] = ()
    admin_allow: Annotated[tuple[str, ...], NoDecode, Listed] = ()
    webhook_allow: Annotated[tuple[str, ...], NoDecode, Listed] = Field((), description="hosts and networks that webhooks may reach")
    secret_key_file: Path | None = None
    node_name: str | None = None
    node_address: str = "127.0.0.1"
    node_labels: Annotated[dict[str, str], NoDecode, Paired] = {}
    port_range: str = Field("20000-29999", pattern=r"^\d{4,5}-\d{4,5}$")
    resource_group: str = "default"
    join_token: SecretStr | None = None
    session_user: str | None = None
    health_bind: str | None = None
    log_format: Literal["text", "json"] = "text"

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    processes: int = Field(1, ge=1, le=64, description="of one router, which share its port")
    mock_gpus: str | None = Field(None, description="COUNTxMODEL-MEMORY[,…]: devices for planning and tests")
    engine_path: Annotated[tuple[Path, ...], NoDecode, Listed] = Field(
        (), description="venvs or conda prefixes to look for engines in, before PATH"
    )
    local_admin: bool = Field(False, description="set by `up`: the admin's specs may name any path that this user may read")
    fast_path: bool = Field(True, description="the uvicorn protocol driver for plain proxied requests")

    leader_lease_seconds: float = 4.0
    node_beat_seconds: float = 2.0
    node_silent_seconds: float = 6.0
    node_lost_seconds: float = 15.0
    scheduler_tick_seconds: float = 1.0
    router_grace_seconds: float = Field(10.0, ge=0, le=3600, description="for requests under way when a router ends")
    runner_jobs_limit: int = Field(256, ge=1, description="jobs that one runner has under way at once")
    jobs_queued_limit: int = Field(100_000, ge=1, description="unfinished jobs of one token")
    jobs_bytes_limit: int = Field(4 * 2**30, ge=1, description="bytes of inputs and results of jobs that the store keeps")
    ended_sessions_kept: int = 20
    log_file_limit: int = Field(16 * 2**20, description="bytes of one log file of a session before it is rotated")
    log_files_kept: int = 2

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get("STOKER_CONFIG", "stoker.toml")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

    def models_dir(self) -> Path:
        return self.model_store or self.data_dir / "models"

    def key_file(self) -> Path:
        """The cluster's key: the same bytes on every machine."""
        return self.secret_key_file or self.data_dir / "cluster.key"

    def store_url(self) -> str:
        """Where Redis is: the given URL, else the embedded server's socket."""
        return self.redis_url or embedded_url(self.data_dir)


def load(**flags: Any) -> Settings:
    """Settings with the command line's flags on top; flags that are None were not given. Raises ConfigurationError, one sentence."""
    given = {name: value for name, value in flags.items() if value is not None}
    _refuse_unknown(read_settings())
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error, given)) from None


def _refuse_unknown(said: dict[str, Any]) -> None:
    for name in said:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name.lower().removeprefix("stoker_"), Settings.model_fields, n=1, cutoff=0.6)
            cure = f"did you mean {near[0]}?" if near else "`stoker config` lists all settings"
            raise ConfigurationError(f"{settings_file()}: {name[:80]!r} is no setting; {cure}")


def _sentence(error: ValidationError, flags: dict[str, Any]) -> str:
    """The first thing that is wrong, by the name under which it was given. Secrets are not repeated."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    variable = f"STOKER_{name.upper()}"
    where = variable if name in flags or variable in os.environ else f"{name} in {settings_file()}"
    value = "" if name in _SECRET else f", not {str(first['input'])[:80]}"
    if first["type"] == "literal_error":
        return f"{where} is {first['ctx']['expected'].replace(chr(39), '')}{value}"
    return f"{where} is wrong: {first['msg'][:1].lower()}{first['msg'][1:]}{value}"
