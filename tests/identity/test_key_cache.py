"""Keys that are known: what is kept of their secrets. `test_nonces` has how many they are."""

import pytest
from cryptography.exceptions import InvalidTag

from backfleet.identity import KeyCache
from backfleet.identity.model import SealedKey, root_caller

SECRET = "a-secret-that-nobody-may-see"


def key_named(name: str) -> SealedKey:
    return SealedKey(name, "1", None, None, root_caller("1", name), "as the vault sealed it")


def test_a_secret_is_opened_as_it_was_given_and_kept_otherwise() -> None:
    cache = KeyCache()
    cache.put(key_named("key"), SECRET)
    found = cache.get("key")
    assert found is not None
    assert (found.key, cache.secret_of(found)) == (key_named("key"), SECRET)
    assert SECRET.encode() not in found.kept_secret
    assert repr(found.kept_secret) not in repr(found)


def test_what_one_cache_keeps_no_other_one_opens_and_no_other_key_has() -> None:
    cache, other = KeyCache(), KeyCache()
    for name in ("one", "two"):
        cache.put(key_named(name), SECRET)
    one, two = cache.get("one"), cache.get("two")
    assert one is not None
    assert two is not None
    assert one.kept_secret != two.kept_secret
    with pytest.raises(InvalidTag):
        other.secret_of(one)
    with pytest.raises(InvalidTag):
        cache.secret_of(type(one)(two.key, one.kept_secret))
