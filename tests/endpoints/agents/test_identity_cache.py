"""The identities that a node remembers."""

from backfleet.endpoints.agents.identity_cache import IdentityCache
from backfleet.fleet import AgentIdentity


def identity(instance_id: str) -> AgentIdentity:
    return AgentIdentity(instance_id, "m", "", deregistered=False)


def test_an_identity_is_recalled_until_it_is_too_old() -> None:
    """`since` says how old it may be; without it, any age will do."""
    cache = IdentityCache()
    cache.remember(identity("mi-1"), 100.0)
    assert cache.recall("mi-1", since=100.0) == identity("mi-1")
    assert cache.recall("mi-1", since=100.5) is None
    assert cache.recall("mi-1") == identity("mi-1")


def test_a_deregistered_instance_is_forgotten() -> None:
    """And one that was never known may be forgotten, too."""
    cache = IdentityCache()
    cache.remember(identity("mi-1"), 100.0)
    for _ in range(2):
        cache.forget("mi-1")
    assert cache.recall("mi-1") is None


def test_the_identity_cache_is_bounded() -> None:
    """The instance that was read longest ago is forgotten first."""
    cache = IdentityCache(most=2)
    for at, name in enumerate(("mi-1", "mi-2", "mi-1", "mi-3")):
        cache.remember(identity(name), float(at))
    assert [name for name in ("mi-1", "mi-2", "mi-3") if cache.recall(name)] == ["mi-1", "mi-3"]
