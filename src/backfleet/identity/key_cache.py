"""Active keys that requests were signed with lately: each is read once, and each request asks whether it still is so.

Their secrets stay sealed. That question is part of the statement that spends the request's nonce: so a key that is
deactivated or deleted, or whose user is renamed, counts as that from the next request on.
"""

import threading
from collections import OrderedDict
from typing import Final

from backfleet.identity import _store
from backfleet.identity.model import SealedKey
from backfleet.storage import Transaction

MOST_KEPT: Final = 2000  # keys, of half a kilobyte each


class KeyChanged(Exception):
    """A key is not as it was read: it was deactivated or deleted, or its user has another name."""


class KeyCache:
    """The keys of one process, those that were used last. Any thread may call it."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        """Begin with none; keep so many at most."""
        self._most, self._kept = most, OrderedDict[str, SealedKey]()
        self._lock = threading.Lock()

    def get(self, access_key_id: str) -> SealedKey | None:
        """Return a key as it was read; None if it was not, or is not known any more."""
        with self._lock:
            found = self._kept.get(access_key_id)
            if found is not None:
                self._kept.move_to_end(access_key_id)
            return found

    def put(self, key: SealedKey) -> None:
        """Keep an active key that a request was signed with: nobody else may make others be forgotten."""
        with self._lock:
            self._kept[key.access_key_id] = key
            self._kept.move_to_end(key.access_key_id)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def drop(self, access_key_id: str) -> None:
        """Forget a key."""
        with self._lock:
            self._kept.pop(access_key_id, None)


def check_key(tx: Transaction, key: SealedKey) -> None:
    """Raise KeyChanged unless a key is active and as it was read."""
    if not _store.access_keys.is_as_read(tx, key):
        raise KeyChanged
