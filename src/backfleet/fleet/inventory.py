"""What a host tells of itself: installed packages, network, system. Kept as told, the newest of each kind.

Source: agent wire protocol, section 11.3. A kind that has not changed since the last time comes with its hash only.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from backfleet.fleet import _store
from backfleet.storage import Transaction

LONGEST_TOLD = 4 << 20  # bytes of what one host tells, unpacked: 1,000 packages are 300 KB
MOST_KINDS = 20
KIND: Final = re.compile(r"[A-Za-z]{2,16}:[A-Za-z0-9]{1,40}")


class InventoryRefused(ValueError):
    """Not of the protocol's form; the text says why."""


class InventoryMissing(Exception):
    """A kind came as unchanged that is not kept as it is: the host must tell it in full."""


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """One kind as a host told it. `content` is None if it has not changed."""

    kind: str
    content_hash: str
    captured_at: str
    content: list[dict[str, Any]] | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inventory:
    """One kind as it is kept."""

    instance_id: str
    kind: str
    content_hash: str
    captured_at: str  # by the host's clock, as it wrote it
    received_at: datetime
    count: int
    content: bytes = field(repr=False)

    def rows(self) -> list[dict[str, Any]]:
        """What was told."""
        found: list[dict[str, Any]] = json.loads(zlib.decompress(self.content))
        return found


def read_inventory(said: object) -> list[InventoryItem]:
    """What an agent's `items` tell: base64 of a raw deflate stream, which may lack its last block, of JSON.

    Raises:
        InventoryRefused: not that, too long, or a field of another kind.
    """
    try:
        packed = base64.b64decode(said if isinstance(said, str) else "", validate=True)
        unpacking = zlib.decompressobj(-15)
        text = unpacking.decompress(packed, LONGEST_TOLD)
        told = json.loads(text)
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        raise InventoryRefused("items must be base64 of a raw deflate stream of JSON") from None
    if unpacking.unconsumed_tail or not isinstance(told, list) or len(told) > MOST_KINDS:
        raise InventoryRefused(f"items must be a list of at most {MOST_KINDS}, unpacked at most {LONGEST_TOLD} bytes")
    return [_item(one) for one in told]


def _item(one: object) -> InventoryItem:
    said: Mapping[str, Any] = one if isinstance(one, dict) else {}
    kind, content = said.get("TypeName"), said.get("Content")
    if not isinstance(kind, str) or not KIND.fullmatch(kind):
        raise InventoryRefused("TypeName must be of the form ACS:Application")
    if content is not None and not (isinstance(content, list) and all(isinstance(row, dict) for row in content)):
        raise InventoryRefused("Content must be a list of objects, or null")
    return InventoryItem(kind, _short(said, "ContentHash", 64), _short(said, "CaptureTime", 32), content)


def _short(said: Mapping[str, Any], name: str, longest: int) -> str:
    value = said.get(name)
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise InventoryRefused(f"{name} must be text of at most {longest} characters")
    return value


def put_inventory(tx: Transaction, instance_id: str, items: Sequence[InventoryItem], *, now: datetime) -> None:
    """Keep what a host told.

    Raises:
        InventoryMissing: something came as unchanged that we do not have so; then nothing is kept.
    """
    known = _store.inventory_hashes(tx, instance_id)
    for item in items:
        if item.content is None and known.get(item.kind) != item.content_hash:
            raise InventoryMissing(item.kind)
    for item in items:
        if item.content is None:
            _store.inventory_unchanged(tx, instance_id, item.kind, item.captured_at, now)
        else:
            packed = zlib.compress(json.dumps(item.content, separators=(",", ":")).encode())
            _store.keep_inventory(
                tx,
                Inventory(instance_id, item.kind, item.content_hash, item.captured_at, now, len(item.content), packed),
            )


def find_inventory(tx: Transaction, instance_id: str) -> list[Inventory]:
    """Every kind that this instance has told, by name."""
    return _store.inventories_of(tx, instance_id)
