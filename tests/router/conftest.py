"""The data path under both of its drivers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stoker.store.store import Store
from tests.support.backend import Backend, backend
from tests.support.data_path import DataPath, data_path


@pytest.fixture(params=["asgi", "fast"])
async def router(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[DataPath]:
    """A router's data path, once by each driver."""
    async with data_path(store, fast=request.param == "fast") as path:
        yield path


@pytest.fixture
async def fast_router(store: Store) -> AsyncIterator[DataPath]:
    """For what does not depend on the driver."""
    async with data_path(store, fast=True) as path:
        yield path


@pytest.fixture
async def engine() -> AsyncIterator[Backend]:
    """A recording engine."""
    async with backend() as made:
        yield made
