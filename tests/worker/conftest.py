"""A worker's node in a directory of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stoker.store.store import Store
from tests.support.worker_node import WorkerNode


@pytest.fixture
async def node(store: Store, redis_url: str, tmp_path: Path) -> AsyncIterator[WorkerNode]:
    """No worker runs yet; whatever it starts is gone afterwards."""
    made = WorkerNode(store, tmp_path, redis_url)
    await made.lead()
    yield made
    made.clean()
