"""Active keys that requests were signed with lately: each is read once, and each request asks whether it still is so.

Their secrets stay sealed, with a key that this process alone has: to open what the vault sealed takes five times as
long. That question is part of the statement that spends the request's nonce: so a key that is
deactivated or deleted, or whose user is renamed, counts as that from the next request on.
"""

import os
import threading
from collections import OrderedDict
from dataclasses import field
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backfleet.identity import _store
from backfleet.identity.model import SealedKey
from backfleet.storage import Transaction
from backfleet.values import value_object

MOST_KEPT: Final = 2000  # keys, of half a kilobyte each
ONCE: Final = 12  # bytes of the random part of what is sealed


class KeyChanged(Exception):
    """A key is not as it was read: it was deactivated or deleted, or its user has another name."""


@value_object
class KnownKey:
    """A key as it was read, and its secret as this process keeps it."""

    key: SealedKey
    kept_secret: bytes = field(repr=False)


class KeyCache:
    """The keys of one process, those that were used last. Any thread may call it."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        """Begin with none; keep so many at most."""
        self._most, self._kept = most, OrderedDict[str, KnownKey]()
        self._lock = threading.Lock()
        self._box = AESGCM(AESGCM.generate_key(256))

    def secret_of(self, known: KnownKey) -> str:
        """Open the secret of a key that this cache returned."""
        once, sealed = known.kept_secret[:ONCE], known.kept_secret[ONCE:]
        return self._box.decrypt(once, sealed, known.key.access_key_id.encode()).decode()

    def get(self, access_key_id: str) -> KnownKey | None:
        """Return a key as it was read; None if it was not, or is not known any more."""
        with self._lock:
            found = self._kept.get(access_key_id)
            if found is not None:
                self._kept.move_to_end(access_key_id)
            return found

    def put(self, key: SealedKey, secret: str) -> None:
        """Keep an active key that a request was signed with: nobody else may make others be forgotten."""
        once = os.urandom(ONCE)
        sealed = self._box.encrypt(once, secret.encode(), key.access_key_id.encode())
        with self._lock:
            self._kept[key.access_key_id] = KnownKey(key, once + sealed)
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
