"""Tokens as the store keeps them: by id, hashed."""

from __future__ import annotations

from stoker.records import TokenRecord
from stoker.store.database import Database, Written


class Tokens:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, id: str) -> TokenRecord | None:
        return await self._db.get("token", id, TokenRecord)

    async def all(self) -> dict[str, TokenRecord]:
        return await self._db.all("token", TokenRecord)

    async def put(self, record: TokenRecord) -> Written:
        """Create or replace; routers know within a second."""
        return await self._db.commit("token", record.id, record, must="any")

    async def change(self, id: str, changes: dict[str, object]) -> Written:
        return await self._db.commit("token", id, changes)

    async def revoke(self, id: str) -> Written:
        """Gone: routers refuse it within a second."""
        return await self._db.commit("token", id, {}, delete=True)
