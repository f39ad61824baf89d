"""Which router a command talks to, and with which token.

1. `--url`, else `--data-dir`, else STOKER_URL, else the local `stoker up` of the data directory.
2. `--token`, else STOKER_TOKEN, else the data directory's admin token, and that only for its own router.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.cli.settings_file import configured
from stoker.cli.up.launch import read_up
from stoker.data_dir import DataDir, default_data_dir
from stoker.errors import ConfigurationError, InvalidRequest, RouterUnreachable

if TYPE_CHECKING:
    from stoker.client import Client

DEFAULT_URL = "http://127.0.0.1:8080"


class Reach:
    """What the flags of one command say about router, token and the form of its answer."""

    def __init__(self, url: str | None = None, token: str | None = None, data_dir: str | None = None, as_json: bool = False) -> None:
        self._url, self._token = url, token
        self._prefer_local = data_dir is not None
        self.data = DataDir(Path(data_dir).expanduser().absolute() if data_dir else configured_data_dir())
        self.as_json = as_json
        self._client: Client | None = None

    @property
    def is_local(self) -> bool:
        """Whether the local platform is meant, running or not."""
        return self._url is None and (self._prefer_local or not os.environ.get("STOKER_URL"))

    @property
    def url(self) -> str:
        """The router's address. Raises RouterUnreachable where no local platform has one, InvalidRequest for what is no URL."""
        named = self._url if self._url is not None else None if self.is_local else os.environ["STOKER_URL"]
        if named is not None:
            if not named.startswith(("http://", "https://")):
                raise InvalidRequest(f"{named!r} is no URL; write it as {DEFAULT_URL}")
            return named.rstrip("/")
        up = read_up(self.data)
        if up is None:
            raise RouterUnreachable(
                f"no router runs on the data directory {self.data.path} (nobody is asked at {DEFAULT_URL});"
                " start the platform with `stoker up -d`, or name its router with --url or STOKER_URL"
            )
        return str(up["url"])

    @property
    def token(self) -> str | None:
        given = self._token or os.environ.get("STOKER_TOKEN")
        if given:
            return given.strip()
        up = read_up(self.data)
        if not self.is_local and (up is None or up["url"] != self.url):
            return None  # our own secret is for our own router alone
        return read_secret(self.data.admin_token)

    @property
    def user_token_file(self) -> Path | None:
        """The file of a token for inference, where the router is the local one."""
        up = read_up(self.data)
        if up is None or up["url"] != self.url or not self.data.user_token.exists():
            return None
        return self.data.user_token

    def client(self) -> Client:
        """The one of this command; `close` closes it."""
        from stoker.client import Client

        if self._client is None:
            self._client = Client(self.url, self.token)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def read_secret(path: Path) -> str | None:
    """The token in a file, None where there is no file. Raises ConfigurationError where it may not be read."""
    try:
        return path.read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the token in {path} cannot be read ({error}); give one with --token or STOKER_TOKEN") from error


def configured_data_dir() -> Path:
    """STOKER_DATA_DIR over `data_dir` of stoker.toml over the default."""
    given = os.environ.get("STOKER_DATA_DIR") or configured("data_dir")
    return Path(given).expanduser().absolute() if given else default_data_dir().absolute()
