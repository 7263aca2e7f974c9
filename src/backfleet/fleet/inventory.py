"""Inventories: what a host reports of its packages, network and system. The newest of each kind is stored as reported.

A kind that has not changed since the last report comes with its hash only. What is stored of one host is bounded, also
over many reports: the kinds reported longest ago are forgotten.
Source: agent wire protocol, section 11.3.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from backfleet.fleet import _store
from backfleet.fleet.model import Inventory, InventoryItem, StoredKind
from backfleet.storage import Transaction

LONGEST_REPORT: Final = 4 << 20  # bytes of one report, unpacked: 1,000 packages take 300 KB
MOST_KINDS: Final = 20  # of one report, and of one host
MOST_ROWS: Final = 50_000  # of one host: objects in all its kinds
MOST_BYTES: Final = 4 << 20  # of one host, as stored
KIND: Final = re.compile(r"[A-Za-z]{2,16}:[A-Za-z0-9]{1,40}")


class InventoryRefused(ValueError):
    """The report does not have the protocol's form. The message says why."""


class InventoryMissing(Exception):
    """A kind was reported as unchanged, but its content is not stored: the host must report it in full."""


def read_inventory(raw: object) -> list[InventoryItem]:
    """Return the inventories in an agent's `items`.

    Args:
        raw: base64 of a raw deflate stream, which may lack its last block, of a JSON list.

    Raises:
        InventoryRefused: it is not that, it is too long, or a field has another type.
    """
    try:
        packed = base64.b64decode(raw if isinstance(raw, str) else "", validate=True)
        unpacking = zlib.decompressobj(-15)
        text = unpacking.decompress(packed, LONGEST_REPORT)
        items = json.loads(text)
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        raise InventoryRefused("items must be base64 of a raw deflate stream of JSON") from None
    if unpacking.unconsumed_tail or not isinstance(items, list) or len(items) > MOST_KINDS:
        raise InventoryRefused(f"items must be a list of at most {MOST_KINDS}, unpacked at most {LONGEST_REPORT} bytes")
    return [_item(item) for item in items]


def _item(raw: object) -> InventoryItem:
    reported: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    kind, content = reported.get("TypeName"), reported.get("Content")
    if not isinstance(kind, str) or not KIND.fullmatch(kind):
        raise InventoryRefused("TypeName must be of the form ACS:Application")
    if content is not None and not (isinstance(content, list) and all(isinstance(row, dict) for row in content)):
        raise InventoryRefused("Content must be a list of objects, or null")
    return InventoryItem(kind, _text(reported, "ContentHash", 64), _text(reported, "CaptureTime", 32), content)


def _text(reported: Mapping[str, Any], name: str, longest: int) -> str:
    value = reported.get(name)
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise InventoryRefused(f"{name} must be text of at most {longest} characters")
    return value


def put_inventory(tx: Transaction, instance_id: str, items: Sequence[InventoryItem], *, now: datetime) -> None:
    """Store the inventories that a host reported. Its oldest kinds are forgotten where they would be too many.

    Raises:
        InventoryMissing: a kind was reported as unchanged, but that content is not stored. Nothing is stored then.
        InventoryRefused: the report alone is more than is stored of one host. Nothing is stored then.
    """
    known = _store.inventories.stored(tx, instance_id)
    for item in items:
        if item.content is None and (item.kind not in known or known[item.kind].content_hash != item.content_hash):
            raise InventoryMissing(item.kind)
    full = {item.kind: item.content for item in items if item.content is not None}
    packed = {kind: _packed(content) for kind, content in full.items()}
    new = [StoredKind(kind, "", now, len(full[kind]), len(packed[kind])) for kind in full]
    named = {item.kind for item in items}
    _store.inventories.forget(tx, instance_id, _to_forget(new, [*known.values()], named))
    for item in items:
        if item.content is None:
            _store.inventories.note_unchanged(tx, instance_id, item.kind, item.captured_at, now)
        else:
            facts = (item.kind, item.content_hash, item.captured_at, now, len(item.content), packed[item.kind])
            _store.inventories.put(tx, Inventory(instance_id, *facts))


def _packed(content: Sequence[Mapping[str, Any]]) -> bytes:
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode())


def _to_forget(new: Sequence[StoredKind], known: Sequence[StoredKind], named: Collection[str]) -> list[str]:
    """Return the kinds to forget for new ones: those reported longest ago, and none that this report names.

    Raises:
        InventoryRefused: what the report names is too much by itself.
    """
    replaced = {one.kind for one in new}
    kept = [*new, *(one for one in known if one.kind in named and one.kind not in replaced)]
    if not _fits(kept):
        raise InventoryRefused(
            f"the inventory of one host may have {MOST_KINDS} kinds, {MOST_ROWS} objects and {MOST_BYTES} bytes"
        )
    forgotten = []
    for one in sorted((one for one in known if one.kind not in named), key=lambda one: one.received_at, reverse=True):
        if _fits([*kept, one]):
            kept.append(one)
        else:
            forgotten.append(one.kind)
    return forgotten


def _fits(kinds: Sequence[StoredKind]) -> bool:
    rows, size = sum(one.count for one in kinds), sum(one.size for one in kinds)
    return len(kinds) <= MOST_KINDS and rows <= MOST_ROWS and size <= MOST_BYTES


def find_inventory(tx: Transaction, instance_id: str) -> list[Inventory]:
    """Return every kind of inventory that an instance has reported, by name."""
    return _store.inventories.of_instance(tx, instance_id)
