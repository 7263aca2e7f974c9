"""Inventories that hosts report."""

import json
import zlib
from dataclasses import field
from datetime import datetime
from typing import Any

from backfleet.values import value_object


@value_object
class InventoryItem:
    """One kind of inventory as a host reported it. `content` is None if it has not changed since the last report."""

    kind: str
    content_hash: str
    captured_at: str
    content: list[dict[str, Any]] | None = field(repr=False)


@value_object
class StoredKind:
    """One stored kind of inventory, without its content."""

    kind: str
    content_hash: str
    received_at: datetime
    count: int  # objects
    size: int  # bytes, as stored


@value_object
class Inventory:
    """The newest inventory of one kind, as it is stored."""

    instance_id: str
    kind: str
    content_hash: str
    captured_at: str  # by the host's clock, in the host's format
    received_at: datetime
    count: int
    content: bytes = field(repr=False)

    def rows(self) -> list[dict[str, Any]]:
        """Return the reported objects."""
        found: list[dict[str, Any]] = json.loads(zlib.decompress(self.content))
        return found
