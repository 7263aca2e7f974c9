"""How orders for instances of a cloud are written."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from backfleet.carriers.bootstrap import Bootstrap
from backfleet.carriers.ecs import _store
from backfleet.storage import Transaction
from backfleet.values import value_object


@value_object
class Ecs:
    """The way through a cloud. Its agents know only that cloud, so the command names this server."""

    bootstrap: Bootstrap
    newest_root: Callable[[Transaction], bytes] = lambda tx: b""  # of the releases

    def bootstraps(self, tx: Transaction, instance_ids: Sequence[str]) -> dict[str, Bootstrap]:
        """Return the bootstrap of each of these hosts. See `Way.bootstraps`."""
        known = _store.downloads_of(tx, instance_ids)
        ours = replace(self.bootstrap, follows_agent=False)
        root = self.newest_root(tx) if any(each.mirror for each in known.values()) else b""
        found = dict.fromkeys(instance_ids, ours)
        for instance_id, way in known.items():
            near = replace(ours, mirror=way.mirror, mirror_authority=way.mirror_authority, release_root=root)
            found[instance_id] = replace(near if way.mirror else ours, address=way.address or ours.address)
        return found
