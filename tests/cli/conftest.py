"""One platform for the typed sessions that only use it, with one demo service; those that break it start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack, running


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(Path(tmp_path_factory.mktemp("cli")), "--mock-gpus", "2xH100-80GB") as stack:
        yield stack


@pytest.fixture(scope="session")
def served(platform: Stack) -> Stack:
    """The same with the service `demo` up."""
    platform.stoker("serve", "demo", "-d")
    return platform
